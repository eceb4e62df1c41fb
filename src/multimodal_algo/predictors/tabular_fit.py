"""How the models of a branch are fitted with AutoGluon's ``TabularPredictor``."""

from __future__ import annotations

import logging
import shutil
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.config.recipes import ModelSettings
from multimodal_algo.core.memory import available_bytes
from multimodal_algo.predictors._autogluon_compat import refuse_full_disk, tabular_predictor
from multimodal_algo.predictors.autogluon_models import AutoGluonModels
from multimodal_algo.predictors.base import FitSettings, sample_rows
from multimodal_algo.predictors.ensemble import Ensemble
from multimodal_algo.predictors.inputs import Inputs
from multimodal_algo.predictors.linear_features import LinearFeatures
from multimodal_algo.predictors.threads import ROWS_FOR_THREADS, threads_for

_LOG = logging.getLogger(__name__)

_LABEL = "label"
_FOLD = "fold"
# AutoGluon does not count its own preparation in its limit, nor the last fit on all rows, which is one fit more than
# the folds.
_COUNTED_SHARE = 0.7
_LEAST_LIMIT_S = 2.0
# The model to fit when the budget ran out before any model of the recipe was fitted.
_CHEAPEST: ModelSettings = {"WIDE": {"C": 1, "max_iter": 20, "max_words": 5000}}
# Size of a model's tables in memory, in multiples of its cells, and the share of the free memory that they may take.
_TABLES = 5
_MEMORY_SHARE = 0.7
_LEAST_ROWS = 1000
# Seconds of a core for a number of a row that is not 0, in one of the 20 steps of the cheapest model, for one output.
# Measured with 2.5 million numbers and 19 classes: 0.5 nanoseconds. A slower processor may take four times as long.
_PRODUCT_S = 2e-9
# Share of the time for a sample of the rows. The rest is for half of them, which shows what more rows gain.
_SHARE_OF_SAMPLE = 0.6
# Rows that AutoGluon and the stored models both predict, and the largest difference that rounding makes.
_COMPARED_ROWS, _ROUNDING = 200, 1e-5


@dataclass(frozen=True)
class FittedModels:
    """Models that AutoGluon fitted, and their predictions for held-out rows.

    Parameters
    ----------
    models
        The models that go into the artifact.
    rows
        Positions of the rows that they were fitted to, int (n,).
    held_out
        Predictions for these rows, each by a model that was not fitted to the row, (n, labels).
    """

    models: Ensemble | AutoGluonModels
    rows: np.ndarray
    held_out: np.ndarray


def fit_models(
    inputs: pd.DataFrame, targets: np.ndarray, folds: np.ndarray, settings: FitSettings
) -> FittedModels | None:
    """Fit the models that the settings name. If time or memory do not suffice, fit a cheaper model or fewer rows.

    See `AutoGluonPredictor.fit` for the parameters. Return None if nothing can be learned.
    """
    rows = sample_rows(len(inputs), _most_rows(inputs), settings.seed)
    if len(rows) < len(inputs):
        _LOG.warning("%s: fitted to %d of %d rows, which is what memory allows", settings.name, len(rows), len(inputs))
    with threads_for(len(rows)):
        return _fitted(_TabularFit(settings, inputs, targets, folds), rows)


def _fitted(fitting: _TabularFit, rows: np.ndarray) -> FittedModels | None:
    """Fit the models that the settings name to `rows`.

    If the time is too short, fit the cheapest model to some of them.
    """
    settings = fitting.settings
    limit_s = max(_LEAST_LIMIT_S, settings.budget.remaining_s * _COUNTED_SHARE)
    predictor = fitting.fit(rows, settings.model_settings, limit_s)
    if predictor is None:
        rows, all_rows = fitting.cheap_rows(rows), len(rows)
        _LOG.warning(
            "%s: no model of the recipe could be fitted in %.1f s; fitting the cheapest to %d of %d rows",
            settings.name, limit_s, len(rows), all_rows,
        )  # fmt: skip
        predictor = fitting.fit_cheapest(rows, is_sample=len(rows) < all_rows)
    if predictor is None:
        _LOG.warning("%s: nothing can be learned from these columns. Every row gets the prior", settings.name)
        return None
    return _shipped(predictor, fitting.inputs, rows)


def _shipped(predictor: Any, inputs: pd.DataFrame, rows: np.ndarray) -> FittedModels:
    """Fit the best model of `predictor` to all of `rows`, and return it with its held-out predictions."""
    # AutoGluon appends the row of a class that has only one row once more, so that it can fold it.
    held_out = predictor.predict_proba_oof(model=predictor.model_best).loc[: len(rows) - 1]
    predictor.refit_full(model="best", set_best_to_refit_full=True, **_threads(inputs.iloc[rows]))
    fitted = AutoGluonModels(predictor)
    ordered = held_out[predictor.class_labels] if fitted.labels else held_out
    return FittedModels(_stored(fitted, predictor, inputs.iloc[rows[:_COMPARED_ROWS]]), rows, ordered.to_numpy())


def _stored(fitted: AutoGluonModels, predictor: Any, sample: pd.DataFrame) -> Ensemble | AutoGluonModels:
    """Return the models in the form that predicts without AutoGluon, if it gives the same predictions for `sample`.

    Otherwise return AutoGluon's own models.
    """
    ensemble = Ensemble.of(predictor)
    if ensemble is None:
        return fitted
    expected, stored = fitted.predict(sample), ensemble.predict(Inputs.of(sample))
    if ensemble.labels == fitted.labels and np.allclose(stored, expected, rtol=_ROUNDING, atol=_ROUNDING):
        return ensemble
    _LOG.warning("the stored models differ from AutoGluon's, whose pickles are written. Loading them takes seconds")
    return fitted


@dataclass(frozen=True)
class _TabularFit:
    """Fits with AutoGluon to chosen rows of the training data."""

    settings: FitSettings
    inputs: pd.DataFrame
    targets: np.ndarray
    folds: np.ndarray

    def fit(self, rows: np.ndarray, model_settings: ModelSettings, time_limit: float | None) -> Any:
        """Fit a ``TabularPredictor`` with one model per fold. Return None if no model could be fitted.

        Parameters
        ----------
        rows
            Positions of the rows to fit to, int (n,).
        model_settings
            AutoGluon's ``hyperparameters``. ``WIDE`` stands for `MixedLinearModel`.
        time_limit
            Seconds that AutoGluon gets. It does not count its own preparation.
        """
        cells = self.inputs.iloc[rows].reset_index(drop=True)
        table = cells.assign(**{_LABEL: self.targets[rows], _FOLD: self.folds[rows]})
        path = self.settings.scratch / "predictor"
        shutil.rmtree(path, ignore_errors=True)
        predictor = tabular_predictor()(
            label=_LABEL,
            problem_type=self._problem_type(table),
            eval_metric="root_mean_squared_error" if self.settings.task.is_regression else "log_loss",
            path=str(path),
            verbosity=0,
            groups=_FOLD,
            learner_kwargs={"label_count_threshold": 1, "random_state": self.settings.seed},
        )
        with warnings.catch_warnings(), self._folds():
            warnings.simplefilter("ignore")
            try:
                predictor.fit(
                    table,
                    hyperparameters=_with_classes(model_settings),
                    time_limit=time_limit,
                    num_gpus=0,
                    num_stack_levels=0,
                    # AutoGluon would scale the predictions for new rows, and not those for held-out rows.
                    calibrate=False,
                    dynamic_stacking=False,
                    feature_generator=_feature_generator(),
                    feature_metadata=_feature_metadata(cells),
                    ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
                    **_threads(cells),
                )
                refuse_full_disk(predictor, path)
                return predictor if predictor.model_names() else None
            except (AssertionError, RuntimeError, ValueError) as error:
                # No model was fitted in time, no column holds any information, or all rows are in one fold.
                _LOG.debug("AutoGluon: %s", error)
                return None

    def cheap_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return as many of `rows` as the cheapest model can be fitted to in the remaining time."""
        sample = Inputs.of(self.inputs.iloc[rows[:_COMPARED_ROWS]])
        features = LinearFeatures(int(_CHEAPEST["WIDE"]["max_words"]))
        fits = 1 + len(np.unique(self.folds))
        products = features.numbers(sample) * int(_CHEAPEST["WIDE"]["max_iter"]) * self.settings.task.outputs
        of_row_s = (features.seconds(sample) + products * _PRODUCT_S) * fits / len(sample)
        most = int(_SHARE_OF_SAMPLE * self.settings.budget.remaining_s / of_row_s)
        return rows[sample_rows(len(rows), max(_LEAST_ROWS, most), self.settings.seed)]

    def fit_cheapest(self, rows: np.ndarray, *, is_sample: bool) -> Any:
        """Fit the cheapest model to `rows`, see `fit`.

        If `rows` are a sample, also fit half of it, and log how much the other half lowers the loss.
        """
        of_half = _held_out_loss(self.fit(rows[::2], _CHEAPEST, None)) if is_sample else None
        predictor = self.fit(rows, _CHEAPEST, None)
        if of_half is not None and predictor is not None:
            _LOG.warning(
                "%s: the held-out loss is %.4f with %d rows and %.4f with half of them. More time takes more rows",
                self.settings.name, _held_out_loss(predictor), len(rows), of_half,
            )  # fmt: skip
        return predictor

    def _folds(self) -> AbstractContextManager[None]:
        if self.settings.parallelism is None:
            return nullcontext()
        from multimodal_algo.predictors.parallel_folds import parallel_folds

        return parallel_folds(self.settings.parallelism)

    def _problem_type(self, table: pd.DataFrame) -> str:
        if self.settings.task.is_regression:
            return "regression"
        # Two of many classes may be left among the rows that have a vote in this branch.
        return "binary" if table[_LABEL].nunique() == 2 else "multiclass"


def _held_out_loss(predictor: Any) -> float | None:
    """Return the log-loss, or the root mean squared error, on held-out rows. Return None without a predictor."""
    return None if predictor is None else -float(predictor.leaderboard(display=False)["score_val"].max())


def _most_rows(inputs: pd.DataFrame) -> int:
    """Return to how many rows a model can be fitted with the free memory."""
    sample = inputs.head(_LEAST_ROWS)
    per_row = _TABLES * int(sample.memory_usage(deep=True, index=False).sum()) / len(sample)
    return max(_LEAST_ROWS, int(_MEMORY_SHARE * available_bytes() / per_row))


def _with_classes(model_settings: ModelSettings) -> dict[Any, Any]:
    from multimodal_algo.predictors.linear_model import MixedLinearModel
    from multimodal_algo.predictors.tree_model import MixedTreeModel

    own = {model.ag_key: model for model in (MixedLinearModel, MixedTreeModel)}
    return {own.get(key, key): settings for key, settings in model_settings.items()}


def _threads(table: pd.DataFrame) -> dict[str, int]:
    """Return AutoGluon's argument for the number of threads. Few rows get one thread, see `ROWS_FOR_THREADS`."""
    has_vectors = any(isinstance(cell, bytes) for cell in table.head(1).iloc[0])
    return {} if len(table) >= ROWS_FOR_THREADS or has_vectors else {"num_cpus": 1}


def _feature_metadata(inputs: pd.DataFrame) -> Any:
    """Return the types of the columns for AutoGluon, which would otherwise look into every cell to guess them."""
    from autogluon.common.features.feature_metadata import FeatureMetadata
    from autogluon.common.features.infer_types import get_type_map_raw

    return FeatureMetadata(type_map_raw=get_type_map_raw(inputs))


def _feature_generator() -> Any:
    """Return AutoGluon's preparation of tables: categories are numbered, and all other columns stay as they are.

    Rare and unseen category values become missing.
    """
    from autogluon.common.features.types import R_CATEGORY, R_FLOAT, R_INT, R_OBJECT
    from autogluon.features.generators import (
        BulkFeatureGenerator,
        CategoryFeatureGenerator,
        IdentityFeatureGenerator,
    )

    categories = CategoryFeatureGenerator(infer_features_in_args={"valid_raw_types": [R_CATEGORY]})
    as_is = IdentityFeatureGenerator(infer_features_in_args={"valid_raw_types": [R_INT, R_FLOAT, R_OBJECT]})
    return BulkFeatureGenerator(generators=[[categories, as_is]], verbosity=0)
