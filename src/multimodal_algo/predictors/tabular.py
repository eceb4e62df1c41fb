"""AutoGluon's ``TabularPredictor`` as the predictor of a branch."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.config.inference import Engine
from multimodal_algo.config.recipes import ModelSettings
from multimodal_algo.core.memory import available_bytes
from multimodal_algo.predictors._autogluon_compat import refuse_full_disk, tabular_predictor
from multimodal_algo.predictors.base import (
    BranchPredictor,
    FitSettings,
    TargetScale,
    prior_of,
    read_state,
    sample_rows,
    state_of,
)
from multimodal_algo.predictors.fast_predict import FastPredictor
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
# The cheapest model is fitted to one in so many rows.
_ROWS_PER_CHEAP_ROW = 8
_STATE = "frequencies.json"
_PREDICTOR = "predictor"


class AutoGluonPredictor(BranchPredictor):
    """A fitted ``TabularPredictor``.

    Where nothing could be learned it is None, and every row gets the prior.

    Parameters
    ----------
    predictor
        AutoGluon's predictor, or None.
    prior
        Share of each class among the rows of `fit`, float32 (n,), or their mean, float64 (1,).
    scale
        Scale of the numbers that the predictor predicts. None for classes.
    """

    def __init__(self, predictor: Any, prior: np.ndarray, scale: TargetScale | None) -> None:
        self._predictor = predictor
        self._prior = prior
        self._scale = scale
        self._fast: FastPredictor | None = None

    @classmethod
    def fit(
        cls, inputs: pd.DataFrame, targets: np.ndarray, folds: np.ndarray, settings: FitSettings
    ) -> tuple[AutoGluonPredictor, np.ndarray]:
        """See `BranchPredictor.fit`.

        AutoGluon chooses or combines the models by their predictions for held-out rows, and fits the chosen ones to all
        rows that memory allows. A cheaper model is fitted when the budget does not suffice. AutoGluon's tabular fits do
        not resume, so nothing is saved in the checkpoints.

        Parameters
        ----------
        inputs
            Columns of pandas categories, numbers, texts, or vectors (see `vector_cells`).
        targets, folds
            See `BranchPredictor.fit`.
        settings
            Settings of the fit. The model settings are AutoGluon's ``hyperparameters``.
        """
        task, seed, name = settings.task, settings.seed, settings.name
        prior = prior_of(targets, task)
        scale = TargetScale.of(targets, task)
        nothing = cls(None, prior, scale if task.is_regression else None)
        if len(np.unique(targets)) < 2:
            return nothing, nothing.predict(inputs)
        rows = sample_rows(len(inputs), _most_rows(inputs), seed)
        if len(rows) < len(inputs):
            _LOG.warning("%s: fitted to %d of %d rows, which is what memory allows", name, len(rows), len(inputs))
        fitting = _TabularFit(settings, inputs, scale.standardised(targets), folds)
        with threads_for(len(rows)):
            return cls._fitted(fitting, rows, nothing)

    @classmethod
    def _fitted(
        cls, fitting: _TabularFit, rows: np.ndarray, nothing: AutoGluonPredictor
    ) -> tuple[AutoGluonPredictor, np.ndarray]:
        """Fit the recipe to `rows`, or the cheapest model to some of them. Every row gets the prior where none fits."""
        settings, inputs = fitting.settings, fitting.inputs
        limit_s = max(_LEAST_LIMIT_S, settings.budget.remaining_s * _COUNTED_SHARE)
        predictor = fitting.fit(rows, settings.model_settings, limit_s)
        if predictor is None:
            rows = rows[sample_rows(len(rows), max(_LEAST_ROWS, len(rows) // _ROWS_PER_CHEAP_ROW), settings.seed)]
            _LOG.warning(
                "%s: no model of the recipe could be fitted in %.1f s; fitting the cheapest to %d rows",
                settings.name, limit_s, len(rows),
            )  # fmt: skip
            predictor = fitting.fit(rows, _CHEAPEST, None)
        if predictor is None:
            _LOG.warning("%s: nothing can be learned from these columns. Every row gets the prior", settings.name)
            return nothing, nothing.predict(inputs)
        return cls._ship(predictor, nothing, inputs, rows)

    @classmethod
    def _ship(
        cls, predictor: Any, nothing: AutoGluonPredictor, inputs: pd.DataFrame, rows: np.ndarray
    ) -> tuple[AutoGluonPredictor, np.ndarray]:
        """Fit the best model to all of `rows`, and predict the rows that were left out for want of memory."""
        # AutoGluon appends the row of a class that has only one row once more, so that it can fold it.
        held_out = predictor.predict_proba_oof(model=predictor.model_best).loc[: len(rows) - 1]
        predictor.refit_full(model="best", set_best_to_refit_full=True, **_threads(inputs.iloc[rows]))
        shipped = cls(predictor, nothing._prior, nothing._scale)
        out_of_fold = np.empty((len(inputs), len(nothing._prior)), dtype=nothing._prior.dtype)
        out_of_fold[rows] = shipped._in_order_of_classes(held_out)
        left_out = np.setdiff1d(np.arange(len(inputs)), rows)
        for start in range(0, len(left_out), len(rows)):
            chunk = left_out[start : start + len(rows)]
            out_of_fold[chunk] = shipped.predict(inputs.iloc[chunk])
        return shipped, out_of_fold

    def predict(self, inputs: pd.DataFrame) -> np.ndarray:
        """See `BranchPredictor.predict`."""
        if self._predictor is None:
            return np.tile(self._prior, (len(inputs), 1))
        if self._fast is not None:
            return self._in_order_of_classes(self._fast(inputs))
        if self._scale is not None:
            return self._in_order_of_classes(self._predictor.predict(inputs))
        return self._in_order_of_classes(self._predictor.predict_proba(inputs, as_multiclass=True))

    def _in_order_of_classes(self, predictions: Any) -> np.ndarray:
        if self._scale is not None:
            return self._scale.restored(np.asarray(predictions).reshape(-1, 1))
        ordered = np.zeros((len(predictions), len(self._prior)), dtype=np.float32)
        ordered[:, [int(column) for column in predictions.columns]] = predictions.to_numpy(dtype=np.float32)
        return ordered

    def save(self, directory: Path) -> None:
        """See `BranchPredictor.save`."""
        directory.mkdir(parents=True, exist_ok=True)
        state = json.dumps(state_of(self._prior, self._scale))
        (directory / _STATE).write_text(state + "\n", encoding="utf-8")
        if self._predictor is not None:
            self._predictor.clone_for_deployment(str(directory / _PREDICTOR), model="best")

    @classmethod
    def load(cls, directory: Path, engine: Engine = Engine.AUTO) -> AutoGluonPredictor:
        """See `BranchPredictor.load`."""
        prior, scale = read_state(json.loads((directory / _STATE).read_text(encoding="utf-8")))
        if not (directory / _PREDICTOR).is_dir():
            return cls(None, prior, scale)
        predictor = tabular_predictor().load(str(directory / _PREDICTOR), verbosity=0)
        predictor.persist(max_memory=None)  # without this argument it spends a second on weighing every model
        loaded = cls(predictor, prior, scale)
        loaded._fast = FastPredictor.of(predictor)
        return loaded


@dataclass(frozen=True)
class _TabularFit:
    """Fits of AutoGluon to some of the rows."""

    settings: FitSettings
    inputs: pd.DataFrame
    targets: np.ndarray
    folds: np.ndarray

    def fit(self, rows: np.ndarray, model_settings: ModelSettings, time_limit: float | None) -> Any:
        """Fit a ``TabularPredictor``, bagged over the folds. Return None when no model could be fitted.

        Parameters
        ----------
        rows
            Positions of the rows to fit to, int (n,).
        model_settings
            AutoGluon's ``hyperparameters``. ``WIDE`` stands for `MixedLinearModel`.
        time_limit
            Seconds, as AutoGluon counts them.
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


def _most_rows(inputs: pd.DataFrame) -> int:
    """Return how many rows a model can be fitted to at once."""
    sample = inputs.head(_LEAST_ROWS)
    per_row = _TABLES * int(sample.memory_usage(deep=True, index=False).sum()) / len(sample)
    return max(_LEAST_ROWS, int(_MEMORY_SHARE * available_bytes() / per_row))


def _with_classes(model_settings: ModelSettings) -> dict[Any, Any]:
    from multimodal_algo.predictors.linear_model import MixedLinearModel
    from multimodal_algo.predictors.tree_model import MixedTreeModel

    own = {model.ag_key: model for model in (MixedLinearModel, MixedTreeModel)}
    return {own.get(key, key): settings for key, settings in model_settings.items()}


def _threads(table: pd.DataFrame) -> dict[str, int]:
    """Return AutoGluon's argument for the threads of a fit to these rows."""
    has_vectors = any(isinstance(cell, bytes) for cell in table.head(1).iloc[0])
    return {} if len(table) >= ROWS_FOR_THREADS or has_vectors else {"num_cpus": 1}


def _feature_metadata(inputs: pd.DataFrame) -> Any:
    """Return the types of the columns as they are. AutoGluon would look into every cell to guess them."""
    from autogluon.common.features.feature_metadata import FeatureMetadata
    from autogluon.common.features.infer_types import get_type_map_raw

    return FeatureMetadata(type_map_raw=get_type_map_raw(inputs))


def _feature_generator() -> Any:
    """Number the categories, with rare and unseen ones as missing, and leave all other columns as they are."""
    from autogluon.common.features.types import R_CATEGORY, R_FLOAT, R_INT, R_OBJECT
    from autogluon.features.generators import (
        BulkFeatureGenerator,
        CategoryFeatureGenerator,
        IdentityFeatureGenerator,
    )

    categories = CategoryFeatureGenerator(infer_features_in_args={"valid_raw_types": [R_CATEGORY]})
    as_is = IdentityFeatureGenerator(infer_features_in_args={"valid_raw_types": [R_INT, R_FLOAT, R_OBJECT]})
    return BulkFeatureGenerator(generators=[[categories, as_is]], verbosity=0)
