"""AutoGluon's ``TabularPredictor`` as the predictor of a branch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.config.inference import Engine
from multimodal_algo.predictors.base import (
    BranchPredictor,
    FitSettings,
    TargetScale,
    prior_of,
    read_state,
    state_of,
)
from multimodal_algo.predictors.ensemble import AUTOGLUON, DESCRIPTION, Ensemble
from multimodal_algo.predictors.inputs import Inputs, Table

if TYPE_CHECKING:
    import pandas as pd

    from multimodal_algo.predictors.autogluon_models import AutoGluonModels
    from multimodal_algo.predictors.tabular_fit import FittedModels

_STATE = "frequencies.json"


class AutoGluonPredictor(BranchPredictor):
    """The predictor of a branch (partial model) whose models AutoGluon fitted.

    If nothing could be learned there are no models, and every row gets the prior (class shares, or the mean).

    Parameters
    ----------
    models
        The fitted models, or None.
    prior
        Share of each class among the rows of `fit`, float32 (n,), or the mean of their numbers, float64 (1,).
    scale
        Turns predictions of standardised numbers into the original unit. None if the labels are classes.
    """

    def __init__(self, models: Ensemble | AutoGluonModels | None, prior: np.ndarray, scale: TargetScale | None) -> None:
        self._models = models
        self._prior = prior
        self._scale = scale

    @classmethod
    def fit(
        cls, inputs: pd.DataFrame, targets: np.ndarray, folds: np.ndarray, settings: FitSettings
    ) -> tuple[AutoGluonPredictor, np.ndarray]:
        """Fit AutoGluon's models to the inputs of a branch (partial model), see `BranchPredictor.fit`.

        AutoGluon chooses or combines the models by their predictions for held-out rows. It then fits the chosen models
        to all rows that memory allows. If the time does not suffice, a cheaper model is fitted. AutoGluon's tabular
        fits cannot be resumed, so nothing is saved in the checkpoints.

        Parameters
        ----------
        inputs
            Columns of pandas categories, numbers, texts, or vectors (see `Inputs.frame`).
        targets, folds
            See `BranchPredictor.fit`.
        settings
            Settings of the fit. The model settings are AutoGluon's ``hyperparameters``.
        """
        from multimodal_algo.predictors.tabular_fit import fit_models  # serving does without AutoGluon

        scale = TargetScale.of(targets, settings.task, logarithm=settings.logarithm)
        nothing = cls(None, prior_of(targets, settings.task), scale if settings.task.is_regression else None)
        several = len(np.unique(targets)) > 1
        fitted = fit_models(inputs, scale.standardised(targets), folds, settings) if several else None
        if fitted is None:
            return nothing, nothing.predict(inputs)
        shipped = cls(fitted.models, nothing._prior, nothing._scale)
        return shipped, shipped._out_of_fold(inputs, fitted)

    def _out_of_fold(self, inputs: pd.DataFrame, fitted: FittedModels) -> np.ndarray:
        """Return predictions for all rows. Rows that did not fit into memory are predicted by the fitted models."""
        rows = fitted.rows
        out_of_fold = np.empty((len(inputs), len(self._prior)), dtype=self._prior.dtype)
        out_of_fold[rows] = self._in_order_of_classes(fitted.held_out)
        left_out = np.setdiff1d(np.arange(len(inputs)), rows)
        for start in range(0, len(left_out), len(rows)):
            chunk = left_out[start : start + len(rows)]
            out_of_fold[chunk] = self.predict(inputs.iloc[chunk])
        return out_of_fold

    def predict(self, inputs: Table) -> np.ndarray:
        """Return class probabilities or numbers for new rows, see `BranchPredictor.predict`."""
        if self._models is None:
            return np.tile(self._prior, (len(inputs), 1))
        return self._in_order_of_classes(self._models.predict(Inputs.of(inputs)))

    def _in_order_of_classes(self, predictions: np.ndarray) -> np.ndarray:
        """Return predictions in the order of the artifact's classes, (rows, n). The models have their own order.

        For a regression, return the numbers in their original unit.
        """
        if self._scale is not None:
            return self._scale.restored(predictions.reshape(-1, 1))
        assert self._models is not None
        ordered = np.zeros((len(predictions), len(self._prior)), dtype=np.float32)
        ordered[:, self._models.labels] = predictions
        return ordered

    def save(self, directory: Path) -> None:
        """Write the models and the prior (class shares, or the mean) into `directory`, see `BranchPredictor.save`."""
        directory.mkdir(parents=True, exist_ok=True)
        state = json.dumps(state_of(self._prior, self._scale))
        (directory / _STATE).write_text(state + "\n", encoding="utf-8")
        if self._models is not None:
            self._models.save(directory)

    @classmethod
    def load(cls, directory: Path, engine: Engine = Engine.AUTO) -> AutoGluonPredictor:
        """Read the predictor that `save` wrote, see `BranchPredictor.load`.

        There are no networks here, so `engine` is not used.
        """
        return cls(_read_models(directory), *read_state(json.loads((directory / _STATE).read_text(encoding="utf-8"))))


def _read_models(directory: Path) -> Ensemble | AutoGluonModels | None:
    if (directory / DESCRIPTION).is_file():
        return Ensemble.load(directory)
    if not (directory / AUTOGLUON).is_dir():
        return None
    from multimodal_algo.predictors.autogluon_models import AutoGluonModels  # AutoGluon, which takes seconds

    return AutoGluonModels.load(directory)
