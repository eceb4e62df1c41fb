"""Changes of a recipe by a user's four JSON hyperparameters, whose keys are checked."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from multimodal_algo.config.automm_keys import checked, defaults, nearest
from multimodal_algo.config.automm_networks import NetworkKeys, check_networks
from multimodal_algo.config.choices import Customised
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import DEFAULT_NETWORK, Branch, ModelSettings, NetworkSettings, Recipe
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality

_WIDE = "WIDE"
_WIDE_SETTINGS = ("C", "max_iter", "max_words", "pieces", "plain")
_TABULAR = (Branch.NUM, Branch.CAT, Branch.TABLE)


TABULAR_MODELS = [
    *(_WIDE, "GBM", "GBM_PREP", "CAT", "XGB", "RF", "XT", "KNN", "LR", "NN_TORCH", "FT_TRANSFORMER", "TABM", "DUMMY")
]
"""AutoGluon's models for tables that the image can fit, and whose files `predictors.pickled_classes` admits."""


@dataclass(frozen=True)
class Customisation:
    """The changes that a user makes to a recipe: the branches and model settings of a quality.

    Parameters
    ----------
    text, image
        AutoMM's dotted hyperparameters of the networks that are fine-tuned.
    text_models, image_models, tabular_models
        Settings of AutoGluon's models that replace those of the recipe. Empty for no change.
    network
        Settings of the fusion network.
    """

    text: ModelSettings = field(default_factory=dict)
    image: ModelSettings = field(default_factory=dict)
    text_models: ModelSettings = field(default_factory=dict)
    image_models: ModelSettings = field(default_factory=dict)
    tabular_models: ModelSettings = field(default_factory=dict)
    network: NetworkSettings = DEFAULT_NETWORK

    @classmethod
    def of(cls, hyperparameters: HyperParameters) -> Customisation:
        """Read the four JSON hyperparameters for texts, images, tables and fusion, and check their keys.

        Raises
        ------
        UserError
            A key is unknown, and the message has the nearest known one. Or a value is not an object, or of the wrong
            type, or for another modality or task.
        """
        text, text_models = _sorted(Modality.TEXT, hyperparameters)
        image, image_models = _sorted(Modality.IMAGE, hyperparameters)
        tabular = hyperparameters.customised("tabular_hyperparameters")
        if tabular:
            for key in tabular:
                if "." in key:
                    raise UserError(
                        f"tabular_hyperparameters: {key[:60]} is a key of AutoMM. Set it in text_hyperparameters or "
                        "image_hyperparameters, or name a model of AutoGluon, for example FT_TRANSFORMER."
                    )
                _check("tabular_hyperparameters", key, TABULAR_MODELS)
        return cls(
            text,
            image,
            text_models,
            image_models,
            tabular,
            _network(hyperparameters.customised("fusion_hyperparameters")),
        )

    def apply(self, recipe: Recipe, *, fine_tuned: Mapping[Branch, Collection[Modality]], has_gpu: bool) -> Recipe:
        """Return a copy of the recipe with these changes.

        A branch with fine-tuned networks is kept in two cases: the recipe has it and there is a GPU, or the user has
        set a hyperparameter of its networks.

        Parameters
        ----------
        recipe
            The recipe of the job's quality.
        fine_tuned
            The branches that fine-tune networks, each with the modalities that its networks read.
        has_gpu
            Whether the host has a GPU.
        """
        models = dict(recipe.models)
        networks = NetworkKeys(self.text, self.image)
        for branch, modalities in fine_tuned.items():
            if (branch in models and has_gpu) or networks.asks_for(modalities):
                models[branch] = {**models.get(branch, {}), **networks.settings_of(modalities)}
            else:
                models.pop(branch, None)
        if self.text_models:
            models[Branch.TEXT] = self.text_models
        if self.image_models:
            models[Branch.IMAGE] = self.image_models
        if self.tabular_models:
            models |= {branch: self.tabular_models for branch in _TABULAR if branch in models}
        return replace(recipe, models=models)


def _sorted(modality: Modality, hyperparameters: HyperParameters) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the two parts of a JSON hyperparameter: AutoMM's dotted keys, and settings of other models."""
    name: Customised = "text_hyperparameters" if modality is Modality.TEXT else "image_hyperparameters"
    values = hyperparameters.customised(name)
    models = {key: value for key, value in values.items() if "." not in key}
    for key, value in models.items():
        if key != _WIDE:
            raise UserError(f"{name}: unknown key '{key[:60]}': {nearest(key, [_WIDE, *defaults()])}")
        for setting in [s for settings in _listed(value) for s in settings]:
            _check(f"{name}, WIDE", setting, _WIDE_SETTINGS)
    dotted = {key: value for key, value in values.items() if "." in key}
    if not dotted:
        return {}, models
    return check_networks(name, modality, checked(name, dotted), hyperparameters.distill_from == "model"), models


def _listed(value: Any) -> list[Mapping[str, Any]]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(settings, dict) for settings in values):
        raise UserError('WIDE takes an object of settings, such as {"WIDE": {"C": 3}}, or a list of such objects.')
    return values


def _network(values: Mapping[str, Any]) -> NetworkSettings:
    known = asdict(DEFAULT_NETWORK)
    for key, value in values.items():
        _check("fusion_hyperparameters", key, list(known))
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise UserError(f"fusion_hyperparameters: {key} is {json.dumps(value)[:40]}, it must be a number from 0.")
    return NetworkSettings(**{key: type(known[key])(value) for key, value in values.items()})


def _check(name: str, key: str, known: Sequence[str]) -> None:
    if key not in known:
        raise UserError(f"{name}: unknown key '{key[:60]}': {nearest(key, known)}")
