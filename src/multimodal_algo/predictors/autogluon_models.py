"""A ``TabularPredictor`` that answers requests. It serves models that cannot be stored without AutoGluon.

For few rows, AutoGluon's checks around its models take longer than the models themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from multimodal_algo.predictors._autogluon_compat import MeanOfModels, mean_of_models, tabular_predictor
from multimodal_algo.predictors.ensemble import AUTOGLUON
from multimodal_algo.predictors.inputs import Table, frame_of


class AutoGluonModels:
    """The best model of a ``TabularPredictor``, called with as few of AutoGluon's checks as possible.

    Parameters
    ----------
    predictor
        AutoGluon's predictor.
    mean
        The models behind the best model, if it is a weighted mean and they are in memory. Otherwise None.
    """

    def __init__(self, predictor: Any, mean: MeanOfModels | None = None) -> None:
        self._predictor = predictor
        self._mean = mean
        is_regression = predictor.problem_type == "regression"
        self.labels = [] if is_regression else [int(label) for label in predictor.class_labels]
        """Class indices in the order of the predictions. Empty for a regression."""

    def predict(self, table: Table) -> np.ndarray:
        """Return the probabilities of the classes, float (rows, labels), or predicted numbers, float (rows, 1)."""
        if self._mean is not None:
            return self._predict_by(self._mean, table)
        frame = frame_of(table)
        if not self.labels:
            return np.asarray(self._predictor.predict(frame)).reshape(-1, 1)
        return np.asarray(self._predictor.predict_proba(frame, as_multiclass=True)[self._predictor.class_labels])

    def _predict_by(self, mean: MeanOfModels, table: Table) -> np.ndarray:
        prepared = mean.prepare(frame_of(table))
        total = np.asarray(sum(weight * model.predict_proba(prepared) for weight, model in mean.models))
        predictions = mean.scaled(total)
        if self.labels and predictions.ndim == 1:  # for two classes AutoGluon gives the probability of the second one
            return np.stack([1 - predictions, predictions], axis=1)
        return predictions.reshape(len(prepared), -1)

    def save(self, directory: Path) -> None:
        """Write the predictor into `directory`, without the files that only training needs."""
        self._predictor.clone_for_deployment(str(directory / AUTOGLUON), model="best")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the models that `save` wrote into `directory`."""
        predictor = tabular_predictor().load(str(directory / AUTOGLUON), verbosity=0)
        predictor.persist(max_memory=None)  # without this argument it spends a second on weighing every model
        return cls(predictor, mean_of_models(predictor))
