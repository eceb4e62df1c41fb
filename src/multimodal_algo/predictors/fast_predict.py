"""The models of a ``TabularPredictor``, called without its bookkeeping, which takes longer than they do on few rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd


class FastPredictor:
    """A weighted mean of models, as AutoGluon's ensemble has it.

    Parameters
    ----------
    learner
        AutoGluon's; prepares tables.
    ensemble
        AutoGluon's; knows the temperature.
    models
        Of the ensemble: a weight and a model each.
    labels
        The classes in the order of answers; none of a regression.
    """

    def __init__(self, learner: Any, ensemble: Any, models: Sequence[tuple[float, Any]], labels: Sequence[Any]) -> None:
        self._learner = learner
        self._ensemble = ensemble
        self._models = models
        self._labels = list(labels)

    @classmethod
    def of(cls, predictor: Any) -> FastPredictor | None:
        """The best model of `predictor`, which is in memory; None where it is of another structure than known here."""
        from autogluon.core.models import BaggedEnsembleModel, WeightedEnsembleModel

        learner = predictor._learner
        trainer = learner.load_trainer()
        ensemble = trainer.load_model(predictor.model_best)
        if not isinstance(ensemble, WeightedEnsembleModel) or len(ensemble.models) != 1 or ensemble.conformalize:
            return None
        (mean,) = ensemble.models
        if not hasattr(mean, "weights_") or mean.temperature_scalar is not None:
            return None
        models = []
        for name, weight in zip(mean.base_model_names, mean.weights_, strict=True):
            bag = trainer.load_model(ensemble.stack_column_prefix_to_model_map[name])
            if not isinstance(bag, BaggedEnsembleModel) or len(bag.models) != 1 or bag.temperature_scalar is not None:
                return None
            if bag.base_model_names:
                return None
            models.append((float(weight), bag.load_child(bag.models[0])))
        labels = [] if predictor.problem_type == "regression" else predictor.class_labels
        return cls(learner, ensemble, models, labels)

    def __call__(self, inputs: pd.DataFrame) -> Any:
        """As ``predict_proba(inputs, as_multiclass=True)`` gives them, or ``predict`` of a regression."""
        table = self._learner.transform_features(inputs)
        answers = sum(weight * model.predict_proba(table) for weight, model in self._models)
        if self._ensemble.temperature_scalar is not None:
            answers = self._ensemble._apply_temperature_scaling(answers)
        if not self._labels:
            return answers
        if np.ndim(answers) == 1:  # of two classes it is the second one's
            answers = np.stack([1 - answers, answers], axis=1)
        return pd.DataFrame(answers, columns=self._labels)
