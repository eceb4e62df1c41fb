"""Quality → what each modality and the fusion do: the one table to read or change.

The model keys and their settings are AutoGluon's (``TabularPredictor.fit(hyperparameters=...)``). Frozen
vectors want linear or small neural heads, columns want boosted trees; ``docs/recipes.md`` has the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multimodal_algo.schema import Modality

Models = Mapping[str, Any]
"""AutoGluon's ``hyperparameters``: model key → settings, or a list of settings."""


@dataclass(frozen=True)
class Recipe:
    """What one quality does.

    Parameters
    ----------
    folds
        Folds of the out-of-fold vectors; every modality is fitted once per fold and once on all rows.
    models
        Per modality AutoGluon's models; several are combined by AutoGluon's weighted ensemble.
    effort
        Per modality its share of the budget, relative to the others.
    """

    folds: int
    models: Mapping[Modality, Models]
    effort: Mapping[Modality, float]


# Of AutoGluon's linear model: the skew test would send each of a thousand columns through its own quantile transform,
# and the median of columns without a gap is the costliest step of all, in time and in memory.
PLAIN: dict[str, Any] = {"proc.skew_threshold": None, "proc.impute_strategy": "mean"}

# Linear models are quick: fitted first, they are there when the time runs out.
_FIRST = {"ag_args": {"priority": 1000}}


def _linear(*strengths: float) -> list[dict[str, Any]]:
    return [{"C": strength, "max_iter": 150, **PLAIN, **_FIRST} for strength in strengths]


_FAST_TREES = {
    "learning_rate": 0.1,
    "num_boost_round": 150,
    "num_leaves": 31,
    "min_data_in_leaf": 5,
    "min_data_per_group": 5,
}
_EFFORT = {Modality.TEXT: 2.0, Modality.NUM: 1.0, Modality.CAT: 1.0, Modality.IMAGE: 2.0}

RECIPES: Mapping[str, Recipe] = {
    "toy": Recipe(
        folds=3,
        models={
            Modality.TEXT: {"LR": _linear(0.01)},
            Modality.NUM: {"GBM": _FAST_TREES},
            Modality.CAT: {"LR": _FIRST},
            Modality.IMAGE: {"LR": _linear(0.01)},
        },
        effort=_EFFORT,
    ),
    "very_light": Recipe(
        folds=5,
        models={
            Modality.TEXT: {"LR": _linear(0.01, 0.001)},
            Modality.NUM: {"GBM": _FAST_TREES},
            Modality.CAT: {"LR": _FIRST, "GBM": _FAST_TREES},
            Modality.IMAGE: {"LR": _linear(0.01, 0.001)},
        },
        effort=_EFFORT,
    ),
    "light": Recipe(
        folds=5,
        models={
            Modality.TEXT: {"LR": _linear(0.03, 0.01, 0.001), "NN_TORCH": {}},
            Modality.NUM: {"GBM": [_FAST_TREES, {"extra_trees": True}], "XT": {}},
            Modality.CAT: {"LR": _FIRST, "GBM": _FAST_TREES, "CAT": {}},
            Modality.IMAGE: {"LR": _linear(0.03, 0.01, 0.001), "NN_TORCH": {}},
        },
        effort=_EFFORT,
    ),
    "default": Recipe(
        folds=5,
        models={
            Modality.TEXT: {"LR": _linear(0.1, 0.03, 0.01, 0.001), "NN_TORCH": {}, "XT": {}},
            Modality.NUM: {"GBM": [_FAST_TREES, {"extra_trees": True}, {}], "CAT": {}, "XGB": {}, "RF": {}, "XT": {}},
            Modality.CAT: {"LR": _FIRST, "GBM": [_FAST_TREES, {}], "CAT": {}, "XGB": {}, "NN_TORCH": {}},
            Modality.IMAGE: {"LR": _linear(0.1, 0.03, 0.01, 0.001), "NN_TORCH": {}, "XT": {}},
        },
        effort=_EFFORT,
    ),
}
