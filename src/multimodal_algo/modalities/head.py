"""AutoGluon's ``TabularPredictor`` behind four calls: fit, predict, save, load.

AutoGluon may drop rare classes, reorder or relabel them; what comes out of here is always re-indexed to the
n classes of the artifact.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.budget import Budget
from multimodal_algo.recipes import PLAIN, Models

_LOG = logging.getLogger(__name__)

_LABEL = "label"
# Fitting on the rows without the hold-out, then on all of them with what the hold-out taught, costs up to twice
# the time that AutoGluon counts; AutoGluon's own preparation is not counted either.
_COUNTED_SHARE = 0.45
_LEAST_LIMIT_S = 2.0
# What is fitted when the budget ran out before any model of the recipe was done.
_CHEAPEST: Models = {"LR": {"max_iter": 30, **PLAIN}}
# Boosting a few columns of fewer rows gains nothing from threads, and with every core busy they wait for each other:
# a fit of half a second then takes a minute.
_ROWS_FOR_THREADS = 20_000
_SCORED_ROWS = 1000
_FREQUENCIES = "frequencies.json"
_PREDICTOR = "predictor"


class TabularHead:
    """A fitted predictor of n classes; without one (nothing could be learnt) it answers the class frequencies.

    Parameters
    ----------
    predictor
        AutoGluon's predictor, or None.
    frequencies
        Share of each class among the rows of `fit`, float32 (n,).
    """

    def __init__(self, predictor: Any, frequencies: np.ndarray) -> None:
        self._predictor = predictor
        self._frequencies = frequencies

    @classmethod
    def fit(
        cls,
        inputs: pd.DataFrame,
        labels: np.ndarray,
        *,
        n_classes: int,
        models: Models,
        budget: Budget,
        vectors_only: bool,
        seed: int,
        path: Path,
    ) -> TabularHead:
        """Fit `models` to rows of class indices and keep the best (or AutoGluon's weighted ensemble of them).

        Parameters
        ----------
        inputs
            One row per label.
        labels
            Class indices, int (rows,).
        n_classes
            Length n of the vectors that `predict` returns.
        models
            AutoGluon's ``hyperparameters``.
        budget
            When to be done; a cheaper model is fitted when it does not suffice.
        vectors_only
            Whether `inputs` are plain numbers that need no feature generation.
        seed
            Seed of the hold-out split.
        path
            Directory for the predictor.
        """
        frequencies = (np.bincount(labels, minlength=n_classes) / len(labels)).astype(np.float32)
        if frequencies.max() == 1.0:
            return cls(None, frequencies)
        labelled = pd.Series(labels, inputs.index, name=_LABEL)
        # Vectors of many rows are large: no second copy of them (pandas 3, whose stubs these are, never makes one).
        table = pd.concat([inputs, labelled], axis=1, copy=False)  # type: ignore
        table.index = pd.RangeIndex(len(table))
        limit_s = max(_LEAST_LIMIT_S, budget.remaining_s * _COUNTED_SHARE)
        fitting = _Fitting(table, vectors_only, seed, path)
        predictor = fitting.fit(models, time_limit=limit_s)
        if predictor is None:
            _LOG.warning(
                "%s: no model of the recipe could be fitted in %.1f s; fitting the cheapest", path.parent.name, limit_s
            )
            predictor = fitting.fit(_CHEAPEST, holdout=False)
        if predictor is None:
            _LOG.warning(
                "%s: nothing can be learnt from these columns; answering the class frequencies", path.parent.name
            )
        return cls(predictor, frequencies)

    def predict(self, inputs: pd.DataFrame) -> np.ndarray:
        """Probabilities of the n classes, float32 (rows, n); 0 for a class that the rows of `fit` did not have."""
        if self._predictor is None:
            return np.tile(self._frequencies, (len(inputs), 1))
        vectors = np.zeros((len(inputs), len(self._frequencies)), dtype=np.float32)
        probabilities = self._predictor.predict_proba(inputs, as_multiclass=True)
        vectors[:, [int(column) for column in probabilities.columns]] = probabilities.to_numpy(dtype=np.float32)
        return vectors

    def save(self, directory: Path) -> None:
        """Write the predictor without what only training needs."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / _FREQUENCIES).write_text(json.dumps(self._frequencies.tolist()) + "\n", encoding="utf-8")
        if self._predictor is not None:
            self._predictor.clone_for_deployment(str(directory / _PREDICTOR), model="best")

    @classmethod
    def load(cls, directory: Path) -> TabularHead:
        """Read what `save` wrote, models in memory."""
        frequencies = np.array(json.loads((directory / _FREQUENCIES).read_text(encoding="utf-8")), dtype=np.float32)
        if not (directory / _PREDICTOR).is_dir():
            return cls(None, frequencies)
        from autogluon.tabular import TabularPredictor

        predictor = TabularPredictor.load(str(directory / _PREDICTOR), verbosity=0)
        predictor.persist()
        return cls(predictor, frequencies)


@dataclass(frozen=True)
class _Fitting:
    """One table to fit, with the label as a column; see `TabularHead.fit`."""

    table: pd.DataFrame
    vectors_only: bool
    seed: int
    path: Path

    def fit(self, models: Models, *, time_limit: float | None = None, holdout: bool = True) -> Any:
        """A predictor of `models`; None when none of them could be fitted.

        Parameters
        ----------
        models
            AutoGluon's ``hyperparameters``.
        time_limit
            Seconds, as AutoGluon counts them.
        holdout
            Whether AutoGluon holds rows out to choose by, and fits the chosen again with them. Without, models are
            judged on the rows that they were fitted to.
        """
        from autogluon.features.generators import IdentityFeatureGenerator
        from autogluon.tabular import TabularPredictor

        shutil.rmtree(self.path, ignore_errors=True)
        predictor = TabularPredictor(
            label=_LABEL,
            problem_type="binary" if self.table[_LABEL].nunique() == 2 else "multiclass",
            eval_metric="log_loss",
            path=str(self.path),
            verbosity=0,
            learner_kwargs={"label_count_threshold": 1, "random_state": self.seed},
        )
        options: dict[str, Any] = {}
        if self.vectors_only:
            options["feature_generator"] = IdentityFeatureGenerator()
        elif len(self.table) < _ROWS_FOR_THREADS:
            options["num_cpus"] = 1
        if holdout:
            options |= {"refit_full": "best", "set_best_to_refit_full": True}
        else:
            # AutoGluon wants rows to score on; few will do, and all of them would be in memory a second time.
            options |= {"tuning_data": self.table.head(_SCORED_ROWS)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                predictor.fit(
                    self.table,
                    hyperparameters=dict(models),
                    time_limit=time_limit,
                    num_gpus=0,
                    dynamic_stacking=False,
                    **options,
                )
                return predictor if predictor.model_names() else None
            except (AssertionError, RuntimeError, ValueError) as error:
                # No model was done in time, no column says anything, or rows are too few to hold any out.
                _LOG.debug("AutoGluon: %s", error)
                return None
