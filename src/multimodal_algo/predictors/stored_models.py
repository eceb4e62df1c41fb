"""Fitted models in files of their own: arrays, or the format of their library.

AutoGluon pickles its models. To read them, a server would import AutoGluon, scikit-learn and pandas, which takes longer
than all the rest of its start.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from multimodal_algo.core.linear import Linear
from multimodal_algo.core.softmax import softmax
from multimodal_algo.predictors.inputs import Inputs
from multimodal_algo.predictors.lightgbm_library import Booster
from multimodal_algo.predictors.linear_features import LinearFeatures
from multimodal_algo.predictors.tree_features import TreeFeatures

_JSON, _ARRAY = "json", "array"


class StoredModel(ABC):
    """A model that predicts without AutoGluon."""

    kind: ClassVar[str]
    """Name of the class in descriptions."""

    @abstractmethod
    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return probabilities, float (rows, n), those of the second of two classes, float (rows,), or numbers."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the model to files whose names begin with `path`."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""


class LinearPredictor(StoredModel):
    """Softmax regression, or least squares.

    Parameters
    ----------
    features
        What becomes of the columns.
    linear
        The fitted weights.
    units
        Mean and deviation of the numbers that it learned. None for classes.
    """

    kind = "linear"

    def __init__(self, features: LinearFeatures, linear: Linear, units: tuple[float, float] | None) -> None:
        self._features = features
        self._linear = linear
        self._units = units

    def predict(self, inputs: Inputs) -> np.ndarray:
        """See `StoredModel.predict`. For two classes it has both probabilities."""
        scores = self._linear.scores(self._features.transform(inputs))
        if self._units is None:
            return softmax(scores)
        mean, deviation = self._units
        return scores[:, 0] * deviation + mean

    def save(self, path: Path) -> None:
        """See `StoredModel.save`."""
        linear = {"weights": self._linear.weights, "bias": self._linear.bias}
        write_state(path.with_suffix(".npz"), {"features": self._features.state(), "units": self._units, **linear})

    @classmethod
    def load(cls, path: Path) -> Self:
        """See `StoredModel.load`."""
        state = read_state(path.with_suffix(".npz"))
        return cls(LinearFeatures.restored(state["features"]), Linear(state["weights"], state["bias"]), state["units"])


class BoostedTrees(StoredModel):
    """Trees of LightGBM over numbers and categories, and over components of words and vectors.

    Parameters
    ----------
    columns
        Numbers and categories, in the order of the trees.
    booster
        The trees.
    components
        The numbers that follow the columns. None for none.
    """

    kind = "lightgbm"

    def __init__(self, columns: Sequence[str], booster: Booster, components: TreeFeatures | None = None) -> None:
        self._columns = columns
        self._booster = booster
        self._components = components

    def predict(self, inputs: Inputs) -> np.ndarray:
        """See `StoredModel.predict`."""
        columns = [inputs.numbers(name) for name in self._columns]
        if self._components is not None:
            columns += list(self._components.transform(inputs).T)
        table = np.empty((len(inputs), len(columns)))
        for number, numbers in enumerate(columns):
            table[:, number] = numbers
        return self._booster.predict(table)

    def save(self, path: Path) -> None:
        """See `StoredModel.save`."""
        components = None if self._components is None else self._components.state()
        write_state(path.with_suffix(".npz"), {"columns": list(self._columns), "components": components})
        self._booster.save(path.with_suffix(".txt"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """See `StoredModel.load`."""
        state = read_state(path.with_suffix(".npz"))
        components = None if state["components"] is None else TreeFeatures.restored(state["components"])
        return cls(state["columns"], Booster(path.with_suffix(".txt").read_text(encoding="utf-8")), components)


STORED_MODELS = {model.kind: model for model in (LinearPredictor, BoostedTrees)}
"""The classes by kind."""


def write_state(path: Path, state: Any) -> None:
    """Write nested dictionaries and lists, whose leaves are arrays or what JSON has, to an ``.npz`` file."""
    arrays: dict[str, np.ndarray] = {}

    def number_of(array: np.ndarray) -> dict[str, int]:
        arrays[str(len(arrays))] = np.asarray(array)
        return {_ARRAY: len(arrays) - 1}

    text = json.dumps(state, default=number_of)
    np.savez(path, **{_JSON: np.frombuffer(text.encode("ascii"), dtype=np.uint8)}, **arrays)  # type: ignore[arg-type]


def read_state(path: Path) -> Any:
    """Read what `write_state` wrote."""
    with np.load(path, allow_pickle=False) as stored:

        def leaf(entry: dict[str, Any]) -> Any:
            return stored[str(entry[_ARRAY])] if entry.keys() == {_ARRAY} else entry

        return json.loads(stored[_JSON].tobytes(), object_hook=leaf)
