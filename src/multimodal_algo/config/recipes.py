"""The recipes: each value of the hyperparameter ``quality`` has branches (models that vote), settings and folds.

The keys of model settings are AutoGluon's (``TabularPredictor.fit(hyperparameters=...)``). ``WIDE`` stands for our
`MixedLinearModel`, ``TREES`` for our `MixedTreeModel`. ``docs/recipes.md`` has the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ModelSettings = Mapping[str, Any]
"""AutoGluon's ``hyperparameters``: the settings, or a list of settings, of each model key.

Branches that fine-tune networks have AutoMM's dotted hyperparameters in their place."""


class Branch(StrEnum):
    """The name of a branch: a model that reads some columns and votes. ``branches/registry.py`` declares them all."""

    TEXT = "text"
    TEXT_VECTORS = "text_vectors"
    """The text columns, by the vectors of frozen networks alone."""
    NUM = "num"
    CAT = "cat"
    IMAGE = "image"
    TABLE = "table"
    """Numbers and categories."""
    JOINT = "joint"
    """All columns."""
    TEXT_FINE_TUNED = "text_tuned"
    """The text columns, with a sentence network that is fine-tuned."""
    IMAGE_FINE_TUNED = "image_tuned"
    """One image column, with an image network that is fine-tuned."""
    EARLY = "early"
    """All columns, with one network that is fine-tuned end to end."""


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of the small network that combines the votes of all branches.

    Parameters
    ----------
    learning_rate, weight_decay
        Settings of the optimiser AdamW.
    dropout
        Share of the activations that each step drops.
    batch_size
        Rows in a training step. If an epoch would have more than 25 steps, a step gets up to four times as many.
    """

    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    dropout: float = 0.3
    batch_size: int = 64


DEFAULT_NETWORK = NetworkSettings()


@dataclass(frozen=True)
class Recipe:
    """The settings that a value of the hyperparameter ``quality`` stands for.

    Parameters
    ----------
    folds
        Number of folds. Every branch is fitted once without each fold, for votes on unseen rows, and once on all rows.
    models
        Model settings of each branch. AutoGluon's weighted ensemble combines several models. A branch without an entry
        is not fitted.
    text_networks
        Text networks that ``text_backbone=auto`` stands for, see ``networks/texts/library.py``. Their vectors are
        joined.
    image_backbone
        Image network that ``image_backbone=auto`` stands for.
    """

    folds: int
    models: Mapping[Branch, ModelSettings]
    text_networks: tuple[str, ...] = ("universal-sentence-encoder-multilingual", "all-MiniLM-L6-v2")
    image_backbone: str = "tf_efficientnet_lite2"


# Held-out rows choose the penalty of these linear models. The one that sees pieces of words comes first, in case that
# the time runs out.
_LINEAR: ModelSettings = {"WIDE": {}}
_WITH_PIECES: ModelSettings = {"WIDE": [{"pieces": True}, {}]}

_TREES = {
    "learning_rate": 0.1,
    "num_boost_round": 200,
    "num_leaves": 7,
    "min_data_in_leaf": 10,
    "min_data_per_group": 5,
}

# Trees over all columns gain where a number is predicted. For classes they take as many times as long.
_JOINT: ModelSettings = {
    **_WITH_PIECES,
    "TREES": {
        **_TREES,
        "learning_rate": 0.05,
        "num_boost_round": 300,
        "num_leaves": 15,
        "feature_fraction": 0.4,
        "ag_args": {"problem_types": ["regression"]},
    },
}

_DEFAULT: Mapping[Branch, ModelSettings] = {
    Branch.TEXT: _WITH_PIECES,
    Branch.TEXT_VECTORS: _LINEAR,
    Branch.NUM: {"GBM": [_TREES, {"extra_trees": True}], "CAT": {}, "XT": {}, "RF": {}},
    Branch.CAT: {**_LINEAR, "CAT": {}},
    Branch.IMAGE: _LINEAR,
    Branch.TABLE: {"GBM": [_TREES, {}], **_LINEAR, "CAT": {}, "XT": {}},
    Branch.JOINT: _JOINT,
}

_FAST_TEXT = ("universal-sentence-encoder-multilingual",)

RECIPES: Mapping[str, Recipe] = {
    "toy": Recipe(
        folds=4,
        text_networks=_FAST_TEXT,
        image_backbone="tf_efficientnet_lite0",
        models={
            Branch.TEXT: _LINEAR,
            Branch.NUM: {"GBM": _TREES},
            Branch.CAT: _LINEAR,
            Branch.IMAGE: _LINEAR,
            Branch.JOINT: _LINEAR,
        },
    ),
    "very_light": Recipe(
        folds=5,
        text_networks=_FAST_TEXT,
        models={
            Branch.TEXT: _WITH_PIECES,
            Branch.TEXT_VECTORS: _LINEAR,
            Branch.NUM: {"GBM": _TREES},
            Branch.CAT: _LINEAR,
            Branch.IMAGE: _LINEAR,
            Branch.TABLE: {"GBM": _TREES},
            Branch.JOINT: _JOINT,
        },
    ),
    "light": Recipe(
        folds=5,
        models={
            Branch.TEXT: _WITH_PIECES,
            Branch.TEXT_VECTORS: _LINEAR,
            Branch.NUM: {"GBM": _TREES, "XT": {}},
            Branch.CAT: _LINEAR,
            Branch.IMAGE: _LINEAR,
            Branch.TABLE: {"GBM": _TREES, **_LINEAR, "CAT": {}},
            Branch.JOINT: _JOINT,
        },
    ),
    "default": Recipe(folds=8, models=_DEFAULT),
    "high": Recipe(folds=8, models={**_DEFAULT, Branch.TEXT_FINE_TUNED: {}, Branch.IMAGE_FINE_TUNED: {}}),
    "best": Recipe(
        folds=10, models={**_DEFAULT, Branch.TEXT_FINE_TUNED: {}, Branch.IMAGE_FINE_TUNED: {}, Branch.EARLY: {}}
    ),
}
