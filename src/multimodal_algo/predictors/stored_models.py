"""Fitted models in files that need no AutoGluon: arrays, or the format of the model's own library.

AutoGluon pickles its models. To read the pickles, a server would import AutoGluon, scikit-learn and pandas, which takes
longer than all the rest of its start.
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
    """A fitted model that predicts without AutoGluon."""

    kind: ClassVar[str]
    """Name of the class in descriptions."""

    @abstractmethod
    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return class probabilities, float (rows, n), or predicted numbers, float (rows,).

        For two classes, a model may return only the probability of the second one, float (rows,).
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the model to files whose names begin with `path`."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path) -> Self:
        """Read the model that `save` wrote to files whose names begin with `path`."""


class LinearPredictor(StoredModel):
    """A fitted linear model: softmax regression for classes, least squares for numbers.

    Parameters
    ----------
    features
        Turns the columns into numbers.
    linear
        The fitted weights.
    units
        Mean and standard deviation of the target numbers, which the model learned in standardised form. None for
        classes.
    """

    kind = "linear"

    def __init__(self, features: LinearFeatures, linear: Linear, units: tuple[float, float] | None) -> None:
        self._features = features
        self._linear = linear
        self._units = units

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return class probabilities, float32 (rows, n) also for two classes, or numbers, see `StoredModel.predict`."""
        scores = self._linear.scores(self._features.transform(inputs))
        if self._units is None:
            return softmax(scores)
        mean, deviation = self._units
        return scores[:, 0] * deviation + mean

    def save(self, path: Path) -> None:
        """Write features and weights to an ``.npz`` file, see `StoredModel.save`."""
        linear = {"weights": self._linear.weights, "bias": self._linear.bias}
        write_state(path.with_suffix(".npz"), {"features": self._features.state(), "units": self._units, **linear})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the model that `save` wrote, see `StoredModel.load`."""
        state = read_state(path.with_suffix(".npz"))
        return cls(LinearFeatures.restored(state["features"]), Linear(state["weights"], state["bias"]), state["units"])


class BoostedTrees(StoredModel):
    """LightGBM's trees over numbers and categories, and over the main components of words and vectors.

    Parameters
    ----------
    columns
        Names of the columns of numbers and categories, in the order in which the trees read them.
    booster
        The trees.
    components
        Turns words and vectors into the numbers that the trees read after the columns. None if they read nothing else.
    """

    kind = "lightgbm"

    def __init__(self, columns: Sequence[str], booster: Booster, components: TreeFeatures | None = None) -> None:
        self._columns = columns
        self._booster = booster
        self._components = components

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return class probabilities or numbers, see `StoredModel.predict`."""
        columns = [inputs.numbers(name) for name in self._columns]
        if self._components is not None:
            columns += list(self._components.transform(inputs).T)
        table = np.empty((len(inputs), len(columns)))
        for number, numbers in enumerate(columns):
            table[:, number] = numbers
        return self._booster.predict(table)

    def save(self, path: Path) -> None:
        """Write the trees and the names of their columns, see `StoredModel.save`."""
        components = None if self._components is None else self._components.state()
        write_state(path.with_suffix(".npz"), {"columns": list(self._columns), "components": components})
        self._booster.save(path.with_suffix(".txt"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the model that `save` wrote, see `StoredModel.load`."""
        state = read_state(path.with_suffix(".npz"))
        components = None if state["components"] is None else TreeFeatures.restored(state["components"])
        return cls(state["columns"], Booster(path.with_suffix(".txt").read_text(encoding="utf-8")), components)


STORED_MODELS = {model.kind: model for model in (LinearPredictor, BoostedTrees)}
"""The classes by kind."""


def write_state(path: Path, state: Any) -> None:
    """Write nested dictionaries and lists to an ``.npz`` file. Their values are arrays or whatever JSON can hold."""
    arrays: dict[str, np.ndarray] = {}

    def number_of(array: np.ndarray) -> dict[str, int]:
        arrays[str(len(arrays))] = np.asarray(array)
        return {_ARRAY: len(arrays) - 1}

    text = json.dumps(state, default=number_of)
    np.savez(path, **{_JSON: np.frombuffer(text.encode("ascii"), dtype=np.uint8)}, **arrays)  # type: ignore[arg-type]


def read_state(path: Path) -> Any:
    """Read the dictionaries and lists that `write_state` wrote."""
    with np.load(path, allow_pickle=False) as stored:

        def leaf(entry: dict[str, Any]) -> Any:
            return stored[str(entry[_ARRAY])] if entry.keys() == {_ARRAY} else entry

        return json.loads(stored[_JSON].tobytes(), object_hook=leaf)
