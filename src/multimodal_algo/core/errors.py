"""The errors that this package raises on purpose.

::

    MultimodalError
      UserError        the user can fix it: data, a setting, a file
      PlatformError    the platform breaks its contract: a directory is missing, a config file cannot be read
      AlgorithmError   our own code has a bug

Training writes the message of each to ``/opt/ml/output/failure``. Serving answers a `UserError` with HTTP 400.
The three kinds are those of ``sagemaker_algorithm_toolkit`` in ``aws/sagemaker-xgboost-container``.
"""

from __future__ import annotations


class MultimodalError(Exception):
    """Base class of all errors of this package."""


class UserError(MultimodalError):
    """An error that the user can fix. The message names the problem, its place and the remedy."""


class PlatformError(MultimodalError):
    """A broken promise of the platform: for example a missing directory or an unreadable config file."""


class AlgorithmError(MultimodalError):
    """A broken promise of our own code: a bug."""


def first_line(error: BaseException, most: int = 120) -> str:
    """Return the first line of an error's message, cut to `most` characters.

    Without a message, return the error's type.
    """
    text = str(error).strip()
    return text.splitlines()[0][:most] if text else type(error).__name__


def reason_of(error: BaseException, most: int = 120) -> str:
    """Return the type and the first line of an error from another library, cut to `most` characters."""
    return f"{type(error).__name__}: {first_line(error, most)}"[:most]
