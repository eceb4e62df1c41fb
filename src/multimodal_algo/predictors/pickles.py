"""The pickles that may be loaded: those that hold nothing but an explicit list of classes and functions.

A pickle names the classes and functions that loading it calls. ``pickle.Unpickler.find_class`` is asked for each of
them, and everything that is not listed is refused, see "Restricting Globals" in the documentation of `pickle`.
``skops`` has a format of its own, which AutoGluon does not write. ``fickling`` guesses from a pickle's instructions
whether it is dangerous.

``pickled_classes.py`` has the lists. ``_autogluon_compat.py`` and ``finetune/_automm_compat.py`` let AutoGluon load its
pickles here.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping
from enum import EnumType
from pathlib import Path
from typing import Any, BinaryIO

from multimodal_algo.core.errors import UserError

Admitted = Mapping[str, str]
"""Names of classes and functions, separated by blanks, by their module."""


class Pickles:
    """Stands for the module `pickle` in a library that loads pickles.

    Parameters
    ----------
    admitted
        The classes and functions that pickles may name.
    """

    dump, dumps = staticmethod(pickle.dump), staticmethod(pickle.dumps)

    def __init__(self, *admitted: Admitted) -> None:
        self._admitted = frozenset(_pairs(admitted))
        self._refusal: UserError | None = None

    def load(self, stream: BinaryIO) -> Any:
        """Load a pickle, see `pickle.load`.

        Raises
        ------
        UserError
            The pickle names a class or a function that is not admitted.
        """
        try:
            return _Unpickler(stream, self._admitted).load()
        except UserError as error:
            self._refusal = error
            raise

    def loads(self, content: bytes) -> Any:
        """Load a pickle in memory, see `load`."""
        return self.load(io.BytesIO(content))

    def raise_refusal(self) -> None:
        """Raise the last error of `load`, which the library may have caught, once."""
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise refusal


def _pairs(admitted: Iterable[Admitted]) -> Iterable[tuple[str, str]]:
    return ((module, name) for each in admitted for module, names in each.items() for name in names.split())


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: BinaryIO, admitted: frozenset[tuple[str, str]]) -> None:
        super().__init__(stream)
        self._admitted = admitted
        self._file = "/".join(Path(getattr(stream, "name", "a pickle")).parts[-2:])

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._admitted:
            raise UserError(
                f"{self._file}: the pickle names {module[:60]}.{name[:60]}, which no model of this package holds, and "
                "it is not loaded. Use an artifact of a training job."
            )
        return _INSTEAD.get((module, name)) or super().find_class(module, name)


def _load_from_bytes(content: bytes) -> Any:
    """Load the storage of a tensor, see ``torch.storage._load_from_bytes``, which loads any pickle."""
    import torch

    return torch.load(io.BytesIO(content), weights_only=True)


def _member_of(*arguments: Any) -> Any:
    """Return a member of an enumeration by its name. Python before 3.11.4 pickles members as calls of ``getattr``.

    Raises
    ------
    UserError
        The arguments are others.
    """
    if len(arguments) == 2 and isinstance(arguments[0], EnumType) and arguments[1] in arguments[0].__members__:
        return arguments[0].__members__[arguments[1]]
    raise UserError(
        "The pickle names builtins.getattr for a use which no model of this package holds. It is not loaded."
    )


_INSTEAD = {("torch.storage", "_load_from_bytes"): _load_from_bytes, ("builtins", "getattr"): _member_of}
