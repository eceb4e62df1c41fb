"""Calls of LightGBM's shared library through its C interface.

The Python package ``lightgbm`` imports scikit-learn, pandas and pyarrow before it predicts anything. The page
https://lightgbm.readthedocs.io/en/latest/C-API.html describes the calls.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

_FLOAT64 = 1  # C_API_DTYPE_FLOAT64
_ROW_MAJOR = 1
_NORMAL = 0  # C_API_PREDICT_NORMAL: probabilities, or numbers
_ALL = -1


class Booster:
    """LightGBM's trees, read from a text in LightGBM's own format."""

    def __init__(self, text: str) -> None:
        self._handle = ctypes.c_void_p()
        iterations = ctypes.c_int()
        _call("BoosterLoadModelFromString", text.encode(), ctypes.byref(iterations), ctypes.byref(self._handle))
        outputs = ctypes.c_int()
        _call("BoosterGetNumClasses", self._handle, ctypes.byref(outputs))
        self._outputs = outputs.value

    def __del__(self) -> None:
        if self._handle:
            _call("BoosterFree", self._handle)

    def predict(self, table: np.ndarray) -> np.ndarray:
        """Return class probabilities, float64 (rows, n), or predicted numbers, float64 (rows,).

        For two classes, return only the probability of the second one, float64 (rows,).

        Parameters
        ----------
        table
            Input numbers, float64 (rows, columns). A missing number is NaN.
        """
        table = np.ascontiguousarray(table, dtype=np.float64)
        predictions = np.empty(len(table) * self._outputs)
        size = ctypes.c_int64()
        _call(
            "BoosterPredictForMat",
            self._handle, table.ctypes.data_as(ctypes.c_void_p), _FLOAT64, *table.shape, _ROW_MAJOR,
            _NORMAL, 0, _ALL, b"", ctypes.byref(size), predictions.ctypes.data_as(ctypes.c_void_p),
        )  # fmt: skip
        assert size.value == len(predictions)
        return predictions if self._outputs == 1 else predictions.reshape(-1, self._outputs)

    def save(self, path: Path) -> None:
        """Write the trees to the file `path` in LightGBM's text format."""
        _call("BoosterSaveModel", self._handle, 0, _ALL, 0, str(path).encode())


@cache
def _library() -> Any:
    package = find_spec("lightgbm")
    assert package is not None
    assert package.submodule_search_locations
    library = ctypes.CDLL(str(Path(package.submodule_search_locations[0]) / "lib/lib_lightgbm.so"))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library


def _call(name: str, *arguments: Any) -> None:
    """Call the function ``LGBM_<name>`` of the library.

    Raises
    ------
    RuntimeError
        The library reports an error.
    """
    if getattr(_library(), f"LGBM_{name}")(*arguments):
        raise RuntimeError(f"LightGBM: {_library().LGBM_GetLastError().decode()}")
