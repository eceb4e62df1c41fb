"""Checks whether the extra ``train`` of this package is installed."""

from __future__ import annotations

from importlib.util import find_spec

from multimodal_algo.core.errors import UserError

# Packages of the extra `train`. Each part of training, serving and the Python interface imports some of them.
_OF_TRAIN = ("autogluon", "flask", "pandas", "torch")


def can_train() -> bool:
    """Whether the packages of the extra ``train`` are installed."""
    return all(find_spec(name) is not None for name in _OF_TRAIN)


def require_train(what: str, otherwise: str = "") -> None:
    """Refuse an installation without the extra ``train``.

    Parameters
    ----------
    what
        The function or command that needs the packages. The message begins with it.
    otherwise
        Another remedy. The message ends with it.

    Raises
    ------
    UserError
        The packages are not installed. The message has the command that installs them.
    """
    if not can_train():
        raise UserError(
            f'{what} needs packages that are not installed: pip install "multimodal-algo[train]"{otherwise}'
        )
