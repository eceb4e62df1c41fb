"""Fast prediction with the models of a ``TabularPredictor``.

For few rows, AutoGluon's checks around its models take longer than the models do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.predictors._autogluon_compat import MeanOfModels, mean_of_models


class FastPredictor:
    """A weighted mean of models, as in AutoGluon's ensemble.

    Parameters
    ----------
    mean
        Weights and models.
    """

    def __init__(self, mean: MeanOfModels) -> None:
        self._mean = mean

    @classmethod
    def of(cls, predictor: Any) -> FastPredictor | None:
        """Return the best model of a ``TabularPredictor`` in memory. None where its structure is not known here."""
        mean = mean_of_models(predictor)
        return None if mean is None else cls(mean)

    def __call__(self, inputs: pd.DataFrame) -> Any:
        """Return the result of ``predict_proba(inputs, as_multiclass=True)``, or of ``predict`` for a regression."""
        table = self._mean.prepare(inputs)
        total = np.asarray(sum(weight * model.predict_proba(table) for weight, model in self._mean.models))
        predictions = self._mean.scaled(total)
        if not self._mean.labels:
            return predictions
        if np.ndim(predictions) == 1:  # for two classes AutoGluon gives the probability of the second one
            predictions = np.stack([1 - predictions, predictions], axis=1)
        return pd.DataFrame(predictions, columns=self._mean.labels)
