"""Logging for the person who reads CloudWatch at night: one line per step, on stdout, no chatter."""

from __future__ import annotations

import logging
import os
import sys
import warnings

_QUIET = ("autogluon", "sentence_transformers", "transformers", "lightning", "pytorch_lightning", "PIL", "matplotlib")


class _OneLine(logging.Formatter):
    """Each event on one line, tracebacks too: every line is an event of its own in CloudWatch."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\r", "").replace("\n", " | ")


def configure_logging(host: str = "") -> None:
    """Send our log to stdout and silence third parties at their source.

    Call it before any heavy import: progress bars and hub look-ups are switched off by environment variables.

    Parameters
    ----------
    host
        What each line names as its origin, of a job on several hosts.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    warnings.simplefilter("ignore")
    origin = f"{host}: ".replace("%", "%%") if host else ""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_OneLine(f"%(asctime)s %(levelname)s {origin}%(message)s", "%Y-%m-%dT%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
