"""AutoGluon's ``TabularPredictor`` behind four calls: fit, predict, save, load.

AutoGluon may drop rare classes, reorder or relabel them; what comes out of here is always re-indexed to the
n classes of the artifact.
"""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.budget import Budget
from multimodal_algo.recipes import Models

_LOG = logging.getLogger(__name__)

_LABEL = "label"
# Fitting on the rows without the hold-out, then on all of them with what the hold-out taught, costs up to twice
# the time that AutoGluon counts; AutoGluon's own preparation is not counted either.
_COUNTED_SHARE = 0.45
_LEAST_LIMIT_S = 2.0
# What is fitted when the budget ran out before any model of the recipe was done.
_CHEAPEST: Models = {"LR": {"max_iter": 30, "proc.skew_threshold": None}}


class TabularHead:
    """A fitted predictor of n classes, or of the only class that its rows had."""

    def __init__(self, predictor: Any, n_classes: int) -> None:
        self._predictor = predictor
        self._n_classes = n_classes

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
        if len(np.unique(labels)) == 1:
            return cls(int(labels[0]), n_classes)
        table = inputs.reset_index(drop=True).assign(**{_LABEL: labels})
        limit_s = max(_LEAST_LIMIT_S, budget.remaining_s * _COUNTED_SHARE)
        predictor = _fit_predictor(table, models, limit_s, vectors_only=vectors_only, seed=seed, path=path)
        if predictor is None:
            _LOG.warning("%s: no model was done in %.1f s; fitting the cheapest instead", path.parent.name, limit_s)
            shutil.rmtree(path, ignore_errors=True)
            predictor = _fit_predictor(table, _CHEAPEST, None, vectors_only=vectors_only, seed=seed, path=path)
        return cls(predictor, n_classes)

    def predict(self, inputs: pd.DataFrame) -> np.ndarray:
        """Probabilities of the n classes, float32 (rows, n); 0 for a class that the rows of `fit` did not have."""
        vectors = np.zeros((len(inputs), self._n_classes), dtype=np.float32)
        if isinstance(self._predictor, int):
            vectors[:, self._predictor] = 1.0
            return vectors
        probabilities = self._predictor.predict_proba(inputs, as_multiclass=True)
        vectors[:, [int(column) for column in probabilities.columns]] = probabilities.to_numpy(dtype=np.float32)
        return vectors

    def save(self, directory: Path) -> None:
        """Write the predictor without what only training needs."""
        directory.mkdir(parents=True, exist_ok=True)
        self._predictor.clone_for_deployment(str(directory / "predictor"), model="best")

    @classmethod
    def load(cls, directory: Path, n_classes: int) -> TabularHead:
        """Read what `save` wrote, models in memory."""
        from autogluon.tabular import TabularPredictor

        predictor = TabularPredictor.load(str(directory / "predictor"), verbosity=0)
        predictor.persist()
        return cls(predictor, n_classes)


def _fit_predictor(
    table: pd.DataFrame, models: Models, limit_s: float | None, *, vectors_only: bool, seed: int, path: Path
) -> Any:
    from autogluon.features.generators import IdentityFeatureGenerator
    from autogluon.tabular import TabularPredictor

    predictor = TabularPredictor(
        label=_LABEL,
        problem_type="binary" if table[_LABEL].nunique() == 2 else "multiclass",
        eval_metric="log_loss",
        path=str(path),
        verbosity=0,
        learner_kwargs={"label_count_threshold": 1, "random_state": seed},
    )
    options: dict[str, Any] = {"feature_generator": IdentityFeatureGenerator()} if vectors_only else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            predictor.fit(
                table,
                hyperparameters=dict(models),
                time_limit=limit_s,
                num_gpus=0,
                dynamic_stacking=False,
                refit_full="best",
                set_best_to_refit_full="best",
                save_bag_folds=False,
                **options,
            )
        except RuntimeError:
            # AutoGluon raises this when no model was trained in time.
            return None
        if not predictor.model_names():
            return None
    return predictor
