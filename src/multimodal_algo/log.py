"""Logging for the person who reads CloudWatch at night: one line per step, on stdout, no chatter."""

from __future__ import annotations

import logging
import os
import sys
import warnings

_QUIET = ("autogluon", "sentence_transformers", "transformers", "lightning", "pytorch_lightning", "PIL", "matplotlib")


def configure_logging() -> None:
    """Send our log to stdout and silence third parties at their source.

    Call it before any heavy import: progress bars and hub look-ups are switched off by environment variables.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    warnings.simplefilter("ignore")
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        force=True,
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
