"""The three kinds of failure, told apart by class.

The split follows ``aws/sagemaker-xgboost-container``'s toolkit: what the user can prevent, what the
platform did not keep, and what is our bug.
"""

from __future__ import annotations


class MultimodalError(Exception):
    """Base of every error that this package raises on purpose."""


class UserError(MultimodalError):
    """Something the user can fix. The message is one sentence: what, where, and what to do."""


class PlatformError(MultimodalError):
    """The environment is not as the platform promises (a missing directory, an unreadable config file)."""


class AlgorithmError(MultimodalError):
    """A broken promise of our own code: a bug."""
