"""Quality → what each branch and the fusion do: the one table to read or change.

The model keys and their settings are AutoGluon's (``TabularPredictor.fit(hyperparameters=...)``), with ``WIDE`` for
`WideLinearModel`. ``docs/recipes.md`` has the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Models = Mapping[str, Any]
"""AutoGluon's ``hyperparameters``: model key → settings, or a list of settings."""


class Branch(StrEnum):
    """A model whose vectors the fusion gets: one per modality (per image column), and some of several modalities."""

    TEXT = "text"
    NUM = "num"
    CAT = "cat"
    IMAGE = "image"
    TABLE = "table"
    """Numbers and categories."""
    JOINT = "joint"
    """All columns."""


@dataclass(frozen=True)
class Recipe:
    """What one quality does.

    Parameters
    ----------
    folds
        Folds of the out-of-fold vectors; every branch is fitted once per fold and once on all rows.
    models
        Per branch AutoGluon's models; several are combined by AutoGluon's weighted ensemble. A branch that is not
        named is not fitted.
    """

    folds: int
    models: Mapping[Branch, Models]


# Share of the budget, relative to the others.
EFFORT: Mapping[Branch, float] = {
    Branch.TEXT: 2.0,
    Branch.NUM: 1.0,
    Branch.CAT: 1.0,
    Branch.IMAGE: 2.0,
    Branch.TABLE: 1.5,
    Branch.JOINT: 3.0,
}


def _wide(*strengths: float) -> list[dict[str, Any]]:
    return [{"C": strength} for strength in strengths]


_TREES = {
    "learning_rate": 0.1,
    "num_boost_round": 200,
    "num_leaves": 7,
    "min_data_in_leaf": 10,
    "min_data_per_group": 5,
}

RECIPES: Mapping[str, Recipe] = {
    "toy": Recipe(
        folds=4,
        models={
            Branch.TEXT: {"WIDE": _wide(3)},
            Branch.NUM: {"GBM": _TREES},
            Branch.CAT: {"WIDE": _wide(1)},
            Branch.IMAGE: {"WIDE": _wide(3)},
        },
    ),
    "very_light": Recipe(
        folds=5,
        models={
            Branch.TEXT: {"WIDE": _wide(3)},
            Branch.NUM: {"GBM": _TREES},
            Branch.CAT: {"WIDE": _wide(1)},
            Branch.IMAGE: {"WIDE": _wide(3)},
            Branch.TABLE: {"GBM": _TREES},
            Branch.JOINT: {"WIDE": _wide(3)},
        },
    ),
    "light": Recipe(
        folds=5,
        models={
            Branch.TEXT: {"WIDE": _wide(1, 3, 10)},
            Branch.NUM: {"GBM": _TREES, "XT": {}},
            Branch.CAT: {"WIDE": _wide(0.3, 1, 3)},
            Branch.IMAGE: {"WIDE": _wide(1, 3, 10)},
            Branch.TABLE: {"GBM": _TREES, "CAT": {}, "WIDE": _wide(1)},
            Branch.JOINT: {"WIDE": _wide(1, 3, 10)},
        },
    ),
    "default": Recipe(
        folds=8,
        models={
            Branch.TEXT: {"WIDE": _wide(1, 3, 10)},
            Branch.NUM: {"GBM": [_TREES, {"extra_trees": True}], "CAT": {}, "XT": {}, "RF": {}},
            Branch.CAT: {"WIDE": _wide(0.3, 1, 3), "CAT": {}},
            Branch.IMAGE: {"WIDE": _wide(1, 3, 10)},
            Branch.TABLE: {"GBM": [_TREES, {}], "CAT": {}, "WIDE": _wide(1), "XT": {}},
            Branch.JOINT: {"WIDE": _wide(1, 3, 10)},
        },
    ),
}
