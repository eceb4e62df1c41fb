"""A model from a previous artifact whose predictions are translated to the classes of the present job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import numpy as np

from multimodal_algo.branches.base import BranchModel, TrainingRows
from multimodal_algo.config.inference import Engine
from multimodal_algo.core.linear import Blocks, Linear, centered_logs
from multimodal_algo.core.linear_fit import fit_linear
from multimodal_algo.core.softmax import softmax
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import Features
from multimodal_algo.predictors.inputs import Inputs

DESCRIPTION = "translation.json"
"""The file that makes a directory one of a `TranslatedModel`."""
_MODEL = "model"
_MAP = "map.npz"
_FLOOR = 1e-4
_STRENGTH = 0.1


class TranslatedModel(BranchModel):
    """A model of a previous job whose predictions are translated to the classes of the present job.

    The translation is a softmax regression on the logarithms of the predictions. It starts with the previous
    predictions for the classes that both jobs have, and a penalty keeps it close to them. So with few rows it changes
    little.

    Parameters
    ----------
    inner
        The model of the previous job.
    name
        Name of this model in the present job.
    task
        Problem type and number of outputs of the present job.
    shared
        Index of each present class among the previous classes, int (n,). It is -1 for a new class.
    """

    def __init__(self, inner: BranchModel, name: str, task: Task, shared: np.ndarray) -> None:
        super().__init__(name, inner.columns, task)
        self._inner = inner
        self._shared = shared
        self._map: Linear | None = None

    def completeness(self, features: Features) -> np.ndarray:
        """Return the share of each row's cells that are filled, see `BranchModel.completeness`."""
        return self._inner.completeness(features)

    def inputs(self, features: Features) -> Inputs:
        """Return the columns that the previous model gets, see `BranchModel.inputs`."""
        return self._inner.inputs(features)

    def fit_translation(self, rows: TrainingRows, *, min_completeness: float) -> np.ndarray:
        """Fit the translation to the present classes. Return out-of-fold votes like `BranchModel.fit`."""
        predictions, informed = self._inner_predictions(rows.features, min_completeness)
        targets, folds = rows.targets[informed], rows.folds[informed]
        out_of_fold = np.empty((len(targets), self.task.outputs), dtype=np.float32)
        for fold in np.unique(folds):
            inside = folds == fold
            translation = self._fitted(predictions[~inside], targets[~inside])
            out_of_fold[inside] = self._translated(translation, predictions[inside])
        self._map = self._fitted(predictions, targets)
        return self._votes(out_of_fold, informed)

    def _inner_predictions(self, features: Features, min_completeness: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the previous model's predictions, float32 (voting rows, n), and which rows these are, bool (rows,)."""
        votes = self._inner.predict(features, min_completeness=min_completeness)
        informed = votes[:, -1] < 0.5
        return votes[informed, :-1], informed

    def _fitted(self, predictions: np.ndarray, targets: np.ndarray) -> Linear:
        outputs = self.task.outputs
        if not len(targets):
            return Linear(np.zeros((predictions.shape[1], outputs), np.float32), np.zeros(outputs, np.float32))
        return fit_linear(
            Blocks.of_dense(centered_logs(predictions)),
            targets,
            n_classes=outputs,
            strength=_STRENGTH,
            offsets=self._offsets(predictions),
        )

    def _translated(self, linear: Linear, predictions: np.ndarray) -> np.ndarray:
        scores = linear.scores(Blocks.of_dense(centered_logs(predictions)))
        return softmax(scores + self._offsets(predictions)).astype(np.float32)

    def _offsets(self, predictions: np.ndarray) -> np.ndarray:
        """Return logarithms of the previous predictions for each present class, float32 (rows, n).

        A new class gets the logarithm of an even share.
        """
        offsets = np.full((len(predictions), len(self._shared)), -np.log(predictions.shape[1]), dtype=np.float32)
        known = self._shared >= 0
        offsets[:, known] = np.log(np.maximum(predictions[:, self._shared[known]], _FLOOR))
        return offsets

    def predict(self, features: Features, *, min_completeness: float) -> np.ndarray:
        """Return the votes on new rows with the present classes, see `BranchModel.predict`."""
        assert self._map is not None
        predictions, informed = self._inner_predictions(features, min_completeness)
        return self._votes(self._translated(self._map, predictions), informed)

    def save(self, directory: Path) -> None:
        """Write the previous model and the translation into `directory`, see `BranchModel.save`."""
        assert self._map is not None
        directory.mkdir(parents=True, exist_ok=True)
        task = self._inner.task
        description = {"problem_type": task.problem_type, "outputs": task.outputs, "shared": self._shared.tolist()}
        (directory / DESCRIPTION).write_text(json.dumps(description) + "\n", encoding="utf-8")
        np.savez(directory / _MAP, weights=self._map.weights, bias=self._map.bias)
        self._inner.save(directory / _MODEL)

    def load(self, directory: Path, engine: Engine = Engine.AUTO) -> None:
        """Read the previous model and the translation, see `BranchModel.load`."""
        with np.load(directory / _MAP) as stored:
            self._map = Linear(stored["weights"], stored["bias"])
        self._inner.load(directory / _MODEL, engine)

    @classmethod
    def of(cls, inner: type[BranchModel], name: str, columns: tuple[str, ...], task: Task, directory: Path) -> Self:
        """Return the translated model that is stored in `directory`.

        The caller must then call `load` to read its files.

        Parameters
        ----------
        inner
            Class of the previous model.
        name, columns, task
            See `BranchModel`.
        directory
            Directory that `save` wrote.
        """
        description = json.loads((directory / DESCRIPTION).read_text(encoding="utf-8"))
        previous = inner(name, columns, Task(description["problem_type"], description["outputs"]))
        return cls(previous, name, task, np.array(description["shared"], dtype=np.int64))
