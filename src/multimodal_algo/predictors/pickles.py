"""Loading of pickles that name only listed classes and functions.

A pickle names the classes and functions that loading it calls. For each of them, Python calls
``pickle.Unpickler.find_class``, which here refuses every name that is not listed (see "Restricting Globals" in the
documentation of `pickle`). Other libraries do not help: AutoGluon does not write the format of ``skops``, and
``fickling`` only guesses from a pickle's instructions whether it is dangerous.

``pickled_classes.py`` has the lists. ``_autogluon_compat.py`` and ``finetune/_automm_compat.py`` make AutoGluon load
its pickles here.
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
    """Takes the place of the module `pickle` inside a library, so that the library loads only admitted pickles.

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
        """Load a pickle from a stream like `pickle.load`, but refuse classes and functions that are not admitted.

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
        """Load a pickle from bytes, see `load`."""
        return self.load(io.BytesIO(content))

    def raise_refusal(self) -> None:
        """Raise the error with which `load` last refused a pickle, if there is one.

        The library may have caught that error.

        A second call does not raise the same error again.
        """
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
    """Load the numbers of a tensor. Unlike ``torch.storage._load_from_bytes``, refuse any other content."""
    import torch

    return torch.load(io.BytesIO(content), weights_only=True)


def _member_of(*arguments: Any) -> Any:
    """Return a member of an enumeration by its name. Arguments are the enumeration and the name.

    Python before 3.11.4 pickles such members as calls of ``getattr``, and this function takes its place.

    Raises
    ------
    UserError
        The arguments are anything else.
    """
    if len(arguments) == 2 and isinstance(arguments[0], EnumType) and arguments[1] in arguments[0].__members__:
        return arguments[0].__members__[arguments[1]]
    raise UserError(
        "The pickle names builtins.getattr for a use which no model of this package holds. It is not loaded."
    )


_INSTEAD = {("torch.storage", "_load_from_bytes"): _load_from_bytes, ("builtins", "getattr"): _member_of}
