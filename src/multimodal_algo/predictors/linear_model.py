"""A linear model over columns of every kind, as one of the models that AutoGluon fits."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from autogluon.common.features.types import R_BOOL, R_CATEGORY, R_FLOAT, R_INT, R_OBJECT
from autogluon.core.constants import REGRESSION
from autogluon.core.models import AbstractModel
from autogluon.core.utils.exceptions import TimeLimitExceeded

from multimodal_algo.core.lbfgs import Limits
from multimodal_algo.core.linear import Blocks, Linear
from multimodal_algo.core.linear_fit import LinearFit
from multimodal_algo.core.softmax import log_softmax
from multimodal_algo.predictors.inputs import Inputs
from multimodal_algo.predictors.linear_features import LinearFeatures
from multimodal_algo.predictors.linear_search import PLAIN_WEIGHTS, STRENGTHS, LinearSearch, LinearSetting
from multimodal_algo.predictors.stored_models import LinearPredictor

# The weights and their history in the optimiser are in memory at once. This number of weights makes about 250 MB.
_MOST_WEIGHTS = 4_000_000
_STRENGTH, _PLAIN = "C", "plain"


class MixedLinearModel(AbstractModel):
    """Softmax regression, or least squares for numbers, on words, categories, binned numbers and vectors.

    AutoGluon's own linear model does not take raw text, and stores every column densely. The hyperparameters are ``C``
    (the inverse of the L2 penalty), ``max_iter``, ``max_words`` and ``pieces`` (see `LinearFeatures`), and ``plain``
    (see `LinearFeatures.factors`). If ``C`` or ``plain`` is None, the held-out rows of each fold choose it, see
    `LinearSearch`.
    """

    ag_key = "WIDE"
    ag_name = "WideLinear"
    # It is quick, so it is fitted first and is there when the time runs out.
    ag_priority = 1000
    seed_name = None
    _supported_problem_types = ("binary", "multiclass", "regression")
    _default_auxiliary_params_extra: ClassVar[dict[str, Any]] = {
        "valid_raw_types": [R_BOOL, R_INT, R_FLOAT, R_CATEGORY, R_OBJECT],
        "drop_unique": False,
    }

    def _set_default_params(self) -> None:
        defaults = {_STRENGTH: None, "max_iter": 200, "max_words": 50_000, "pieces": False, _PLAIN: None}
        for name, value in defaults.items():
            self._set_default_param_value(name, value)

    def _fit(
        self,
        X: pd.DataFrame,
        y: pd.Series,
        X_val: pd.DataFrame | None = None,
        y_val: pd.Series | None = None,
        time_limit: float | None = None,
        **kwargs: Any,
    ) -> None:
        limits = Limits(self.params["max_iter"], None if time_limit is None else time.monotonic() + 0.8 * time_limit)
        X = self.preprocess(X)
        inputs = Inputs.of(X)
        most_words = max(100, min(self.params["max_words"], _MOST_WEIGHTS // self._outputs))
        self._linear_features = LinearFeatures(most_words, self.params["pieces"])
        if time_limit is not None and self._linear_features.seconds(inputs) > 0.6 * time_limit:
            raise TimeLimitExceeded
        blocks = self._linear_features.fit_transform(inputs)
        if self.problem_type == REGRESSION:
            # With scaled targets, C means the same for prices and for ratings.
            self._center, self._scale = float(y.mean()), float(y.std()) or 1.0
        fit = LinearFit(blocks, self._targets(y), None if self.problem_type == REGRESSION else self._outputs)
        search = self._search()
        if X_val is None or y_val is None:
            setting = search.first
            self.model = self._fitted(fit, setting, limits)
        else:
            asked, targets = self._linear_features.transform(self.preprocess(X_val)), self._targets(y_val)
            setting, self.model = search.run(
                lambda tried: self._fitted(fit, tried, limits),
                lambda _, model: _loss(model, asked, targets),
                lambda: limits.is_late,
            )
        # The fit to all rows gets the mean of the folds.
        self.params_trained |= {_STRENGTH: setting.strength, _PLAIN: setting.plain}

    def _search(self) -> LinearSearch:
        """Return the search over the settings that the hyperparameters leave open."""
        strength, plain = self.params[_STRENGTH], self.params[_PLAIN]
        if plain is None and not self._linear_features.can_weigh:
            plain = 1.0
        return LinearSearch(
            STRENGTHS if strength is None else (float(strength),), PLAIN_WEIGHTS if plain is None else (float(plain),)
        )

    @property
    def _outputs(self) -> int:
        return 1 if self.problem_type == REGRESSION else int(self.num_classes)

    def _fitted(self, fit: LinearFit, setting: LinearSetting, limits: Limits) -> Linear:
        factors = None if setting.plain == 1 else self._linear_features.factors(setting.plain)
        return fit.fit(setting.strength, limits, factors)

    def _targets(self, y: pd.Series) -> np.ndarray:
        if self.problem_type == REGRESSION:
            return ((y - self._center) / self._scale).to_numpy(dtype=np.float32)
        return y.to_numpy(dtype=np.int64)

    def _predict_proba(self, X: pd.DataFrame, **kwargs: Any) -> np.ndarray:
        predictions = self.predictor.predict(Inputs.of(self.preprocess(X, **kwargs)))
        return predictions if self.problem_type == REGRESSION else self._convert_proba_to_unified_form(predictions)

    @property
    def predictor(self) -> LinearPredictor:
        """The fitted model in the form that predicts without AutoGluon."""
        units = (self._center, self._scale) if self.problem_type == REGRESSION else None
        return LinearPredictor(self._linear_features, self.model, units)

    def _more_tags(self) -> dict[str, Any]:
        return {"can_refit_full": True}

    def _estimate_memory_usage(self, X: pd.DataFrame, **kwargs: Any) -> int:
        return LinearFeatures(_MOST_WEIGHTS, self.params["pieces"]).bytes(X) + 60 * _MOST_WEIGHTS


def _loss(model: Linear, blocks: Blocks, targets: np.ndarray) -> float:
    """Return the log-loss of a model on these rows.

    For targets that are numbers, float (rows,), return the mean squared error.
    """
    scores = model.scores(blocks)
    if targets.dtype.kind == "f":
        return float(((scores[:, 0] - targets) ** 2).mean())
    return float(-log_softmax(scores)[np.arange(len(targets)), targets].mean())
