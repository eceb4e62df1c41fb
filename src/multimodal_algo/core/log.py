"""Sets up the log, which a person reads in CloudWatch: one line per step, on stdout."""

from __future__ import annotations

import logging
import os
import sys
import warnings

_QUIET = ("autogluon", "sentence_transformers", "transformers", "lightning", "pytorch_lightning", "PIL", "matplotlib")


class _OneLine(logging.Formatter):
    """A formatter that puts each log record on one line, also a traceback. CloudWatch makes an event of every line."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\r", "").replace("\n", " | ")


def configure_logging(host: str = "") -> None:
    """Send the log to stdout. Switch off the progress bars, warnings and look-ups on the network of other libraries.

    Call it before heavy imports: other libraries read environment variables for these when they are imported.

    Parameters
    ----------
    host
        Name of the host. Each line begins with it. Empty for a job on one host.
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
