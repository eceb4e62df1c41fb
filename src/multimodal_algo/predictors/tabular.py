"""What fits and answers for a modality model, behind four calls; most often AutoGluon's ``TabularPredictor``.

AutoGluon may drop rare classes, reorder or relabel them; what comes out of here is always re-indexed to the
n classes of the artifact.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.config.recipes import ModelSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import CheckpointStore, StopRequest
from multimodal_algo.core.memory import available_bytes
from multimodal_algo.core.task import Task
from multimodal_algo.execution.protocol import Parallelism
from multimodal_algo.predictors.fast_predict import FastPredictor

_LOG = logging.getLogger(__name__)

_LABEL = "label"
_FOLD = "fold"
# AutoGluon's own preparation is not counted in its limit, nor is the last fit on all rows, one more than the folds.
_COUNTED_SHARE = 0.7
_LEAST_LIMIT_S = 2.0
# What is fitted when the budget ran out before any model of the recipe was done.
_CHEAPEST: ModelSettings = {"WIDE": {"max_iter": 20, "max_words": 5000}}
# Boosting a few columns of fewer rows gains nothing from threads, and with every core busy they wait for each other:
# a fit of half a second then takes a minute.
_ROWS_FOR_THREADS = 20_000
# A model's tables in memory, in multiples of the cells that it gets; and the share of what is free that they may take.
_COPIES = 5
_MEMORY_SHARE = 0.7
_LEAST_ROWS = 1000
_FEWER = 8
_FREQUENCIES = "frequencies.json"
_PREDICTOR = "predictor"


class BranchPredictor(ABC):
    """What a modality model asks: fit, predict, save, load."""

    @classmethod
    @abstractmethod
    def fit(
        cls,
        inputs: pd.DataFrame,
        targets: np.ndarray,
        folds: np.ndarray,
        *,
        task: Task,
        models: ModelSettings,
        budget: Budget,
        seed: int,
        path: Path,
        checkpoints: CheckpointStore | None = None,
        stop: StopRequest | None = None,
        parallelism: Parallelism | None = None,
    ) -> tuple[BranchPredictor, np.ndarray]:
        """Fit `models` once per fold, and what ships.

        Parameters
        ----------
        inputs
            One row per target.
        targets
            Class indices, int (rows,), or numbers, float (rows,).
        folds
            Fold of each row, int (rows,).
        task
            What is predicted.
        models
            From the recipe.
        budget
            When to be done.
        seed
            AutoGluon's seed.
        path
            Directory for AutoGluon's files.
        keeper
            Where what is done of the fit is kept for a later start of the same job; None keeps nothing.
        stop
            Whether to keep what is done and end with `Stopped`.
        spread
            Leave to do parts of it on other hosts.

        Returns
        -------
        head
            What ships.
        out_of_fold
            What is said of each row by a fit without it, float32 (rows, n).
        """

    @abstractmethod
    def predict(self, inputs: pd.DataFrame) -> np.ndarray:
        """Probabilities of the n classes, 0 for a class that `fit` did not see; or numbers: float32 (rows, n)."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write it without what only training needs."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path) -> BranchPredictor:
        """Read what `save` wrote, models in memory."""


class AutoGluonPredictor(BranchPredictor):
    """A fitted predictor of n outputs; without one (nothing could be learnt) it answers the same for every row.

    Parameters
    ----------
    predictor
        AutoGluon's predictor, or None.
    usual
        Share of each class among the rows of `fit`, or their mean: float32 (n,).
    is_regression
        Whether the predictor predicts a number.
    """

    def __init__(self, predictor: Any, prior: np.ndarray, is_regression: bool) -> None:
        self._predictor = predictor
        self._prior = prior
        self._is_regression = is_regression
        self._direct: FastPredictor | None = None

    @classmethod
    def fit(
        cls,
        inputs: pd.DataFrame,
        targets: np.ndarray,
        folds: np.ndarray,
        *,
        task: Task,
        models: ModelSettings,
        budget: Budget,
        seed: int,
        path: Path,
        checkpoints: CheckpointStore | None = None,
        stop: StopRequest | None = None,
        parallelism: Parallelism | None = None,
    ) -> tuple[AutoGluonPredictor, np.ndarray]:
        """See `BranchPredictor.fit`; nothing is kept, since AutoGluon's tabular fits do not resume.

        `inputs` has categories as pandas categories, numbers, text, vectors (see `vector_cells`); `models` are
        AutoGluon's ``hyperparameters``. They are chosen or combined by what they say of held-out rows and fitted to all
        rows, as many as memory allows. A cheaper model is fitted when the budget does not suffice.
        """
        prior = prior_of(targets, task)
        nothing = cls(None, prior, task.is_regression)
        if len(np.unique(targets)) < 2:
            return nothing, nothing.predict(inputs)

        def table(rows: np.ndarray) -> pd.DataFrame:
            cells = inputs.iloc[rows].reset_index(drop=True)
            return cells.assign(**{_LABEL: targets[rows], _FOLD: folds[rows]})

        name = path.parent.name
        chosen = _some(len(inputs), _most_rows(inputs), seed)
        if len(chosen) < len(inputs):
            _LOG.warning("%s: fitted to %d of %d rows, which is what memory allows", name, len(chosen), len(inputs))
        fitting = _Fitting(task, seed, path, parallelism)
        limit_s = max(_LEAST_LIMIT_S, budget.remaining_s * _COUNTED_SHARE)
        predictor = fitting.fit(table(chosen), models, limit_s)
        if predictor is None:
            chosen = chosen[_some(len(chosen), max(_LEAST_ROWS, len(chosen) // _FEWER), seed)]
            _LOG.warning(
                "%s: no model of the recipe could be fitted in %.1f s; fitting the cheapest to %d rows",
                name, limit_s, len(chosen),
            )  # fmt: skip
            predictor = fitting.fit(table(chosen), _CHEAPEST, None)
        if predictor is None:
            _LOG.warning("%s: nothing can be learnt from these columns; answering what is usual", name)
            return nothing, nothing.predict(inputs)
        held_out = cls._out_of_fold(predictor, len(chosen))
        predictor.refit_full(model="best", set_best_to_refit_full=True)
        head = cls(predictor, prior, task.is_regression)
        out_of_fold = np.empty((len(inputs), task.outputs), dtype=np.float32)
        out_of_fold[chosen] = head._indexed(held_out)
        others = np.setdiff1d(np.arange(len(inputs)), chosen)
        for start in range(0, len(others), len(chosen)):
            rows = others[start : start + len(chosen)]
            out_of_fold[rows] = head.predict(inputs.iloc[rows])
        return head, out_of_fold

    @staticmethod
    def _out_of_fold(predictor: Any, rows: int) -> Any:
        # AutoGluon appends a copy of the row to a class of one row, so that it can fold it.
        return predictor.predict_proba_oof(model=predictor.model_best).loc[: rows - 1]

    def predict(self, inputs: pd.DataFrame) -> np.ndarray:
        """See `BranchPredictor.predict`."""
        if self._predictor is None:
            return np.tile(self._prior, (len(inputs), 1))
        if self._direct is not None:
            return self._indexed(self._direct(inputs))
        if self._is_regression:
            return self._indexed(self._predictor.predict(inputs))
        return self._indexed(self._predictor.predict_proba(inputs, as_multiclass=True))

    def _indexed(self, answers: Any) -> np.ndarray:
        if self._is_regression:
            return np.asarray(answers, dtype=np.float32).reshape(-1, 1)
        vectors = np.zeros((len(answers), len(self._prior)), dtype=np.float32)
        vectors[:, [int(column) for column in answers.columns]] = answers.to_numpy(dtype=np.float32)
        return vectors

    def save(self, directory: Path) -> None:
        """See `BranchPredictor.save`."""
        directory.mkdir(parents=True, exist_ok=True)
        state = {"prior": self._prior.tolist(), "is_regression": self._is_regression}
        (directory / _FREQUENCIES).write_text(json.dumps(state) + "\n", encoding="utf-8")
        if self._predictor is not None:
            self._predictor.clone_for_deployment(str(directory / _PREDICTOR), model="best")

    @classmethod
    def load(cls, directory: Path) -> AutoGluonPredictor:
        """See `BranchPredictor.load`."""
        state = json.loads((directory / _FREQUENCIES).read_text(encoding="utf-8"))
        prior = np.array(state["prior"], dtype=np.float32)
        if not (directory / _PREDICTOR).is_dir():
            return cls(None, prior, state["is_regression"])
        from autogluon.tabular import TabularPredictor

        predictor = TabularPredictor.load(str(directory / _PREDICTOR), verbosity=0)
        predictor.persist(max_memory=None)  # without it, it weighs every model for a second first
        head = cls(predictor, prior, state["is_regression"])
        head._direct = FastPredictor.of(predictor)
        return head


@dataclass(frozen=True)
class _Fitting:
    """See `AutoGluonPredictor.fit`."""

    task: Task
    seed: int
    path: Path
    parallelism: Parallelism | None

    def fit(self, table: pd.DataFrame, models: ModelSettings, time_limit: float | None) -> Any:
        """A predictor of `models`, bagged over the folds; None when none of them could be fitted.

        Parameters
        ----------
        table
            The rows, with label and fold as columns.
        models
            AutoGluon's ``hyperparameters``; ``WIDE`` is `MixedLinearModel`.
        time_limit
            Seconds, as AutoGluon counts them.
        """
        from autogluon.tabular import TabularPredictor

        shutil.rmtree(self.path, ignore_errors=True)
        predictor = TabularPredictor(
            label=_LABEL,
            problem_type=self._problem_type(table),
            eval_metric="root_mean_squared_error" if self.task.is_regression else "log_loss",
            path=str(self.path),
            verbosity=0,
            groups=_FOLD,
            learner_kwargs={"label_count_threshold": 1, "random_state": self.seed},
        )
        threads = {} if len(table) >= _ROWS_FOR_THREADS or _has_vectors(table) else {"num_cpus": 1}
        with warnings.catch_warnings(), self._folds():
            warnings.simplefilter("ignore")
            try:
                predictor.fit(
                    table,
                    hyperparameters=_with_classes(models),
                    time_limit=time_limit,
                    num_gpus=0,
                    num_stack_levels=0,
                    dynamic_stacking=False,
                    feature_generator=_feature_generator(),
                    feature_metadata=_feature_metadata(table.drop(columns=[_LABEL, _FOLD])),
                    ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
                    **threads,
                )
                return predictor if predictor.model_names() else None
            except (AssertionError, RuntimeError, ValueError) as error:
                # No model was done in time, no column says anything, or all rows are in one fold.
                _LOG.debug("AutoGluon: %s", error)
                return None

    def _folds(self) -> AbstractContextManager[None]:
        if self.parallelism is None:
            return nullcontext()
        from multimodal_algo.predictors.parallel_folds import parallel_folds

        return parallel_folds(self.parallelism)

    def _problem_type(self, table: pd.DataFrame) -> str:
        if self.task.is_regression:
            return "regression"
        # Of many classes two may be left where this modality says anything.
        return "binary" if table[_LABEL].nunique() == 2 else "multiclass"


def prior_of(targets: np.ndarray, task: Task) -> np.ndarray:
    """Share of each class, or the mean, float32 (n,)."""
    if task.is_regression:
        return np.array([targets.mean()], dtype=np.float32)
    return (np.bincount(targets, minlength=task.outputs) / len(targets)).astype(np.float32)


def _most_rows(inputs: pd.DataFrame) -> int:
    """How many rows a model can be fitted to at once."""
    sample = inputs.head(_LEAST_ROWS)
    per_row = _COPIES * int(sample.memory_usage(deep=True, index=False).sum()) / len(sample)
    return max(_LEAST_ROWS, int(_MEMORY_SHARE * available_bytes() / per_row))


def _some(rows: int, most: int, seed: int) -> np.ndarray:
    """Positions of at most `most` of `rows` rows, int (n,), ascending."""
    if most >= rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _with_classes(models: ModelSettings) -> dict[Any, Any]:
    from multimodal_algo.predictors.linear_model import MixedLinearModel

    return {(MixedLinearModel if key == MixedLinearModel.ag_key else key): value for key, value in models.items()}


def _has_vectors(table: pd.DataFrame) -> bool:
    return any(isinstance(cell, bytes) for cell in table.head(1).iloc[0])


def _feature_metadata(inputs: pd.DataFrame) -> Any:
    """Types as they are: AutoGluon would look into every cell to guess them."""
    from autogluon.common.features.feature_metadata import FeatureMetadata
    from autogluon.common.features.infer_types import get_type_map_raw

    return FeatureMetadata(type_map_raw=get_type_map_raw(inputs))


def _feature_generator() -> Any:
    """Categories by number, rare and unseen ones missing; all else as it is."""
    from autogluon.common.features.types import R_CATEGORY, R_FLOAT, R_INT, R_OBJECT
    from autogluon.features.generators import (
        BulkFeatureGenerator,
        CategoryFeatureGenerator,
        IdentityFeatureGenerator,
    )

    categories = CategoryFeatureGenerator(infer_features_in_args={"valid_raw_types": [R_CATEGORY]})
    as_is = IdentityFeatureGenerator(infer_features_in_args={"valid_raw_types": [R_INT, R_FLOAT, R_OBJECT]})
    return BulkFeatureGenerator(generators=[[categories, as_is]], verbosity=0)
