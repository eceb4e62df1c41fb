"""Quality → what each branch and the fusion do: the one table to read or change.

The model keys and their settings are AutoGluon's (``TabularPredictor.fit(hyperparameters=...)``), with ``WIDE`` for
`MixedLinearModel`. ``docs/recipes.md`` has the measurements.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ModelSettings = Mapping[str, Any]
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
    TEXT_FINE_TUNED = "text_tuned"
    """A sentence network that is fine-tuned on the text columns."""
    IMAGE_FINE_TUNED = "image_tuned"
    """An image network that is fine-tuned, one per image column."""
    EARLY = "early"
    """All columns in one network that is fine-tuned end to end."""


FINE_TUNED = frozenset({Branch.TEXT_FINE_TUNED, Branch.IMAGE_FINE_TUNED, Branch.EARLY})
"""Branches whose models are AutoMM's dotted hyperparameters. Without a GPU a recipe leaves them out."""


PARTS = 3
"""How many networks a branch of `FINE_TUNED` fine-tunes: each without a third of the folds."""

_OF_IMAGES = frozenset({Branch.IMAGE_FINE_TUNED, Branch.EARLY})


def needs_pictures(branches: Collection[str]) -> bool:
    """Whether models of `branches` see the images themselves, not only their vectors."""
    return not _OF_IMAGES.isdisjoint(branches)


@dataclass(frozen=True)
class NetworkSettings:
    """Of the fusion network: learning rate and weight decay of AdamW, share of dropped activations, rows of a step."""

    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    dropout: float = 0.3
    batch_size: int = 64


DEFAULT_NETWORK = NetworkSettings()


@dataclass(frozen=True)
class Recipe:
    """What one quality does.

    Parameters
    ----------
    folds
        Folds of the out-of-fold vectors; every branch is fitted once per fold and once on all rows.
    models
        Per branch AutoGluon's models; several are combined by AutoGluon's weighted ensemble. Of `FINE_TUNED` branches
        AutoMM's hyperparameters. A branch that is not named is not fitted.
    """

    folds: int
    models: Mapping[Branch, ModelSettings]


# Share of the budget, relative to the others.
EFFORT: Mapping[Branch, float] = {
    Branch.TEXT: 2.0,
    Branch.NUM: 1.0,
    Branch.CAT: 1.0,
    Branch.IMAGE: 2.0,
    Branch.TABLE: 1.5,
    Branch.JOINT: 3.0,
    Branch.TEXT_FINE_TUNED: 10.0,
    Branch.IMAGE_FINE_TUNED: 10.0,
    Branch.EARLY: 15.0,
}


def _wide(*strengths: float, pieces: float | None = None) -> list[dict[str, Any]]:
    """Linear models by the inverse of their penalty; first, in case time runs out, one that sees pieces of words."""
    models: list[dict[str, Any]] = [{"C": strength} for strength in strengths]
    return models if pieces is None else [{"C": pieces, "pieces": True}, *models]


_TREES = {
    "learning_rate": 0.1,
    "num_boost_round": 200,
    "num_leaves": 7,
    "min_data_in_leaf": 10,
    "min_data_per_group": 5,
}

_DEFAULT: Mapping[Branch, ModelSettings] = {
    Branch.TEXT: {"WIDE": _wide(1, 3, 10, pieces=3)},
    Branch.NUM: {"GBM": [_TREES, {"extra_trees": True}], "CAT": {}, "XT": {}, "RF": {}},
    Branch.CAT: {"WIDE": _wide(0.3, 1, 3), "CAT": {}},
    Branch.IMAGE: {"WIDE": _wide(1, 3, 10)},
    Branch.TABLE: {"GBM": [_TREES, {}], "CAT": {}, "WIDE": _wide(1), "XT": {}},
    Branch.JOINT: {"WIDE": _wide(1, 3, 10, pieces=3)},
}

RECIPES: Mapping[str, Recipe] = {
    "toy": Recipe(
        folds=4,
        models={
            Branch.TEXT: {"WIDE": _wide(3)},
            Branch.NUM: {"GBM": _TREES},
            Branch.CAT: {"WIDE": _wide(1)},
            Branch.IMAGE: {"WIDE": _wide(3)},
            Branch.JOINT: {"WIDE": _wide(3)},
        },
    ),
    "very_light": Recipe(
        folds=5,
        models={
            Branch.TEXT: {"WIDE": _wide(3, pieces=3)},
            Branch.NUM: {"GBM": _TREES},
            Branch.CAT: {"WIDE": _wide(1)},
            Branch.IMAGE: {"WIDE": _wide(3)},
            Branch.TABLE: {"GBM": _TREES},
            Branch.JOINT: {"WIDE": _wide(3, pieces=3)},
        },
    ),
    "light": Recipe(
        folds=5,
        models={
            Branch.TEXT: {"WIDE": _wide(1, 3, 10, pieces=3)},
            Branch.NUM: {"GBM": _TREES, "XT": {}},
            Branch.CAT: {"WIDE": _wide(0.3, 1, 3)},
            Branch.IMAGE: {"WIDE": _wide(1, 3, 10)},
            Branch.TABLE: {"GBM": _TREES, "CAT": {}, "WIDE": _wide(1)},
            Branch.JOINT: {"WIDE": _wide(1, 3, 10, pieces=3)},
        },
    ),
    "default": Recipe(folds=8, models=_DEFAULT),
    "high": Recipe(folds=8, models={**_DEFAULT, Branch.TEXT_FINE_TUNED: {}, Branch.IMAGE_FINE_TUNED: {}}),
    "best": Recipe(
        folds=10, models={**_DEFAULT, Branch.TEXT_FINE_TUNED: {}, Branch.IMAGE_FINE_TUNED: {}, Branch.EARLY: {}}
    ),
}
