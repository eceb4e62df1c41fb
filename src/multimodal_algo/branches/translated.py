"""A model of an earlier artifact, brought to the classes of now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from scipy.special import softmax

from multimodal_algo.branches.base import BranchModel
from multimodal_algo.core.linear import Blocks, Linear, centered_logs, fit_linear
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import Features

DESCRIPTION = "earlier.json"
_MODEL = "model"
_MAP = "map.npz"
_FLOOR = 1e-4
_STRENGTH = 0.1


class TranslatedModel(BranchModel):
    """What an earlier model says of its own classes, translated into the classes of now.

    The translation is a softmax regression on logarithms that starts at, and is drawn towards, leaving shared classes
    as they are: on few rows it is that.

    Parameters
    ----------
    inner
        The earlier model.
    name, task
        Of this one.
    shared
        Of each class of now its place among the earlier classes, int (n,); -1 for a new one.
    """

    def __init__(self, inner: BranchModel, name: str, task: Task, shared: np.ndarray) -> None:
        super().__init__(name, inner.columns, task)
        self._inner = inner
        self._shared = shared
        self._map: Linear | None = None

    def completeness(self, features: Features) -> np.ndarray:
        """The earlier model's."""
        return self._inner.completeness(features)

    def inputs(self, features: Features) -> pd.DataFrame:
        """The earlier model's."""
        return self._inner.inputs(features)

    def fit_translation(
        self, features: Features, targets: np.ndarray, folds: np.ndarray, *, min_completeness: float
    ) -> np.ndarray:
        """Fit the translation; see `BranchModel.fit` for what is given and returned."""
        said = self._inner.predict(features, min_completeness=min_completeness)
        rows = np.flatnonzero(said[:, -1] < 0.5)
        said, targets, folds = said[rows, :-1], targets[rows], folds[rows]
        answers = np.empty((len(rows), self.task.outputs), dtype=np.float32)
        for fold in np.unique(folds):
            inside = folds == fold
            answers[inside] = self._translated(self._fitted(said[~inside], targets[~inside]), said[inside])
        self._map = self._fitted(said, targets)
        informed = np.zeros(len(features), dtype=bool)
        informed[rows] = True
        return self._vectors(answers, informed)

    def _fitted(self, said: np.ndarray, targets: np.ndarray) -> Linear:
        if not len(targets):
            return Linear(
                np.zeros((said.shape[1], self.task.outputs), np.float32), np.zeros(self.task.outputs, np.float32)
            )
        return fit_linear(
            Blocks.of_dense(centered_logs(said)),
            targets,
            n_classes=self.task.outputs,
            strength=_STRENGTH,
            offsets=self._offsets(said),
        )

    def _translated(self, linear: Linear, said: np.ndarray) -> np.ndarray:
        return softmax(linear.scores(Blocks.of_dense(centered_logs(said))) + self._offsets(said), axis=1).astype(
            np.float32
        )

    def _offsets(self, said: np.ndarray) -> np.ndarray:
        """Logarithms of what is said of shared classes; of a new one as if all were equally likely."""
        offsets = np.full((len(said), len(self._shared)), -np.log(said.shape[1]), dtype=np.float32)
        known = self._shared >= 0
        offsets[:, known] = np.log(np.maximum(said[:, self._shared[known]], _FLOOR))
        return offsets

    def predict(self, features: Features, *, min_completeness: float) -> np.ndarray:
        """See `BranchModel.predict`."""
        assert self._map is not None
        said = self._inner.predict(features, min_completeness=min_completeness)
        informed = said[:, -1] < 0.5
        return self._vectors(self._translated(self._map, said[informed, :-1]), informed)

    def save(self, directory: Path) -> None:
        """See `BranchModel.save`."""
        assert self._map is not None
        directory.mkdir(parents=True, exist_ok=True)
        task = self._inner.task
        told = {"problem_type": task.problem_type, "outputs": task.outputs, "shared": self._shared.tolist()}
        (directory / DESCRIPTION).write_text(json.dumps(told) + "\n", encoding="utf-8")
        np.savez(directory / _MAP, weights=self._map.weights, bias=self._map.bias)
        self._inner.save(directory / _MODEL)

    def load(self, directory: Path) -> None:
        """See `BranchModel.load`."""
        with np.load(directory / _MAP) as stored:
            self._map = Linear(stored["weights"], stored["bias"])
        self._inner.load(directory / _MODEL)

    @classmethod
    def read(cls, kind: type[BranchModel], name: str, columns: tuple[str, ...], task: Task, directory: Path) -> Self:
        """The model that was saved in `directory`, whose earlier model is of `kind`."""
        told = json.loads((directory / DESCRIPTION).read_text(encoding="utf-8"))
        inner = kind(name, columns, Task(told["problem_type"], told["outputs"]))
        model = cls(inner, name, task, np.array(told["shared"], dtype=np.int64))
        model.load(directory)
        return model
