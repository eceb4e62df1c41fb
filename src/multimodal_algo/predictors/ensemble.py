"""The weighted mean of models that AutoGluon chose. It predicts without importing AutoGluon."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from multimodal_algo.predictors.inputs import CategoryCells, Column, Inputs
from multimodal_algo.predictors.stored_models import STORED_MODELS, StoredModel

DESCRIPTION = "models.json"
AUTOGLUON = "predictor"
"""The directory of a ``TabularPredictor``, where a member has no stored form."""
"""The file that describes a stored ensemble."""
# AutoGluon makes the probabilities of a model at least this, for the log-loss (`normalize_pred_probas`).
_LEAST = 1e-7


@dataclass(frozen=True)
class Ensemble:
    """A weighted mean of models that predict without AutoGluon.

    Parameters
    ----------
    members
        Weight and model of each member.
    categories
        Known values of each category, in the order of their numbers. Other values count as missing.
    labels
        Class indices in the order of the predictions. Empty for a regression.
    """

    members: Sequence[tuple[float, StoredModel]]
    categories: Mapping[str, Sequence[str]]
    labels: Sequence[int]

    @classmethod
    def of(cls, predictor: Any) -> Self | None:
        """Return the best model of a ``TabularPredictor``.

        Return None if one of its models needs AutoGluon to predict.
        """
        from multimodal_algo.predictors._autogluon_compat import mean_of_models  # serving does without AutoGluon

        mean = mean_of_models(predictor)
        if mean is None or mean.ensemble.temperature_scalar is not None:
            return None
        members = [(weight, stored) for weight, model in mean.models if (stored := mean.stored(model)) is not None]
        labels = [int(label) for label in mean.labels]
        return cls(members, mean.categories, labels) if len(members) == len(mean.models) else None

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Return the probabilities of the classes, float32 (rows, labels), or predicted numbers, float32 (rows, 1)."""
        numbered = self._numbered(inputs)
        total = sum(weight * self._of_member(model, numbered) for weight, model in self.members)
        predictions = np.asarray(total)
        if len(self.labels) == 2:
            return np.stack([1 - predictions, predictions], axis=1)
        return predictions.reshape(len(inputs), -1)

    def _of_member(self, model: StoredModel, inputs: Inputs) -> np.ndarray:
        predictions = model.predict(inputs)
        if len(self.labels) == 2 and predictions.ndim == 2:
            predictions = predictions[:, 1]
        return (_raised(predictions) if self.labels else predictions).astype(np.float32)

    def _numbered(self, inputs: Inputs) -> Inputs:
        """Return the inputs with category values in the numbering that AutoGluon used in training."""
        columns: dict[str, Column] = dict(inputs.columns)
        for name, (numbers, values) in self._numbers.items():
            cells = columns[name]
            assert isinstance(cells, CategoryCells)
            columns[name] = cells.renumbered(numbers, values)
        return Inputs(columns, inputs.rows)

    @cached_property
    def _numbers(self) -> Mapping[str, tuple[Mapping[str, int], range]]:
        """For each category column: the number of each known value, and the range of all numbers."""
        return {
            name: ({value: number for number, value in enumerate(values)}, range(len(values)))
            for name, values in self.categories.items()
        }

    def save(self, directory: Path) -> None:
        """Write the ensemble into the existing `directory`."""
        for number, (_, model) in enumerate(self.members):
            model.save(directory / str(number))
        members = [{"kind": model.kind, "weight": weight} for weight, model in self.members]
        description = {"members": members, "categories": self.categories, "labels": self.labels}
        (directory / DESCRIPTION).write_text(json.dumps(description) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the ensemble that `save` wrote into `directory`."""
        description = json.loads((directory / DESCRIPTION).read_text(encoding="utf-8"))
        members = [
            (entry["weight"], STORED_MODELS[entry["kind"]].load(directory / str(number)))
            for number, entry in enumerate(description["members"])
        ]
        return cls(members, description["categories"], description["labels"])


def _raised(probabilities: np.ndarray) -> np.ndarray:
    """Return probabilities of which none is below 1e-7, so that the log-loss stays finite. The shape stays the same.

    AutoGluon does the same (``normalize_pred_probas``), but to all rows as soon as one row needs it. Here the answer to
    a row does not depend on the rows next to it.
    """
    if probabilities.ndim == 1:
        return np.clip(probabilities, _LEAST, 1 - _LEAST)
    rows = probabilities.min(axis=1) < _LEAST
    if not rows.any():
        return probabilities
    raised = probabilities.copy()
    raised[rows] = np.maximum(raised[rows], _LEAST)
    raised[rows] /= raised[rows].sum(axis=1, keepdims=True)
    return raised
