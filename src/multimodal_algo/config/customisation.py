"""Hyperparameters that change a recipe: a user's JSON, checked against the keys that AutoGluon knows."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import DEFAULT_NETWORK, Branch, ModelSettings, NetworkSettings, Recipe
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality

_WIDE = "WIDE"
_WIDE_SETTINGS = ("C", "max_iter", "max_words", "pieces", "plain")
_TABULAR = (Branch.NUM, Branch.CAT, Branch.TABLE)
# Former names of AutoMM's hyperparameters. Its own `config.py` translates them too, but only some of those that begin
# with `optimization.`.
_RENAMED = {
    "optim.learning_rate": "optim.lr",
    "optim.efficient_finetune": "optim.peft",
    "optim.loss_function": "optim.loss_func",
    "env.num_workers_evaluation": "env.num_workers_inference",
    "env.eval_batch_size_ratio": "env.inference_batch_size_ratio",
    "model.timm_image.max_img_num_per_col": "model.timm_image.max_image_num_per_column",
    "model.fusion_mlp.weight": "model.fusion_mlp.aux_loss_weight",
    "model.fusion_mlp.drop_rate": "model.fusion_mlp.dropout",
}


@dataclass(frozen=True)
class Customisation:
    """The changes that a user makes to a recipe.

    Parameters
    ----------
    text, image
        AutoMM's dotted hyperparameters of the networks that are fine-tuned.
    text_models, image_models, tabular_models
        Model settings that replace those of the recipe. Empty for no change.
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
        """Check and sort the content of the four JSON hyperparameters.

        Raises
        ------
        UserError
            A key is unknown, and the message has the nearest known one. Or a value is not an object.
        """
        text, text_models = _sorted("text_hyperparameters", hyperparameters.customised("text_hyperparameters"))
        image, image_models = _sorted("image_hyperparameters", hyperparameters.customised("image_hyperparameters"))
        tabular = hyperparameters.customised("tabular_hyperparameters")
        if tabular:
            known = _tabular_keys()
            for key in tabular:
                _check("tabular_hyperparameters", key, known)
        return cls(
            text,
            image,
            text_models,
            image_models,
            tabular,
            _network(hyperparameters.customised("fusion_hyperparameters")),
        )

    def apply(self, recipe: Recipe, *, fine_tuned: Mapping[Branch, Collection[Modality]], has_gpu: bool) -> Recipe:
        """Return the recipe with these changes.

        Networks are fine-tuned where the recipe names the branch and there is a GPU. They are also fine-tuned where the
        user has set any of their hyperparameters.

        Parameters
        ----------
        recipe
            A recipe.
        fine_tuned
            The branches that fine-tune networks, with the modalities of these networks.
        has_gpu
            Whether the host has a GPU.
        """
        models = dict(recipe.models)
        for branch, networks in fine_tuned.items():
            settings = self._network_settings(networks)
            # Settings of one network do not ask for the branch that fine-tunes several of them.
            is_asked = bool(settings) and len(networks) == 1
            if (branch in models and has_gpu) or is_asked:
                models[branch] = {**models.get(branch, {}), **settings}
            else:
                models.pop(branch, None)
        if self.text_models:
            models[Branch.TEXT] = self.text_models
        if self.image_models:
            models[Branch.IMAGE] = self.image_models
        if self.tabular_models:
            models |= {branch: self.tabular_models for branch in _TABULAR if branch in models}
        return Recipe(recipe.folds, models)

    def _network_settings(self, networks: Collection[Modality]) -> ModelSettings:
        text = self.text if Modality.TEXT in networks else {}
        image = self.image if Modality.IMAGE in networks else {}
        return {**text, **image}


def _sorted(name: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return AutoMM's dotted hyperparameters, under their present names, and the settings of AutoGluon's models."""
    dotted: dict[str, Any] = {}
    models: dict[str, Any] = {}
    known = _automm_keys() if any("." in key for key in values) else []
    for key, value in values.items():
        if "." not in key:
            _check(name, key, [_WIDE, *_automm_keys()])
            for setting in [s for settings in _listed(value) for s in settings]:
                _check(f"{name}, WIDE", setting, _WIDE_SETTINGS)
            models[key] = value
            continue
        current = "optim." + key.removeprefix("optimization.") if key.startswith("optimization.") else key
        current = _RENAMED.get(current, current)
        _check(name, current, known, key)
        dotted[current] = value
    return dotted, models


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


def _check(name: str, key: str, known: Sequence[str], spelled: str | None = None) -> None:
    if key in known:
        return
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not close and "." in key:
        last = {candidate.rsplit(".", 1)[-1]: candidate for candidate in known}
        close = [last[match] for match in difflib.get_close_matches(key.rsplit(".", 1)[-1], list(last), n=1)]
    hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known[:12])}."
    raise UserError(f"{name}: unknown key '{spelled or key}': {hint}")


def _tabular_keys() -> list[str]:
    from autogluon.tabular.registry import ag_model_registry

    return [_WIDE, *ag_model_registry.keys]


def _automm_keys() -> list[str]:
    """Return all dotted keys from AutoMM's own configuration files, without importing AutoMM."""
    from omegaconf import OmegaConf

    spec = find_spec("autogluon.multimodal")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations))) / "configs"

    def walk(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
        for key, value in node.items():
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")

    keys = {
        key
        for part in ("model", "data", "optim", "env")
        for path in sorted((root / part).glob("*.yaml"))
        for key in walk(OmegaConf.to_container(OmegaConf.load(path)), "")  # type: ignore[arg-type]
    }
    return sorted(key for key in keys if "." in key)
