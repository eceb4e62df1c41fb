"""Hyperparameters that reach AutoGluon: a user's JSON, checked against what AutoGluon knows."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import DEFAULT_NETWORK, Branch, ModelSettings, NetworkSettings, Recipe
from multimodal_algo.core.errors import UserError

_WIDE = "WIDE"
_WIDE_SETTINGS = ("C", "max_iter", "max_words", "pieces")
_TABULAR = (Branch.NUM, Branch.CAT, Branch.TABLE)
# Older names of AutoMM's, as its own `config.py` translates them (which forgets `optimization.` elsewhere).
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
    """What a user changes of a recipe.

    Parameters
    ----------
    text, image
        AutoMM's dotted hyperparameters of the networks that are fine-tuned.
    text_models, image_models, tabular_models
        AutoGluon's models of frozen vectors and words, and of tables; empty for the recipe's.
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
        """Check and sort what the four JSON hyperparameters hold.

        Raises
        ------
        UserError
            An unknown key (with the nearest known one), or a value that is no object where one is needed.
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

    def apply(self, recipe: Recipe, *, has_gpu: bool) -> Recipe:
        """The recipe with these changes.

        Networks are fine-tuned where the recipe says so and there is a GPU, and where the user has set any of their
        hyperparameters.
        """
        models = dict(recipe.models)
        tuned = {
            Branch.TEXT_FINE_TUNED: self.text,
            Branch.IMAGE_FINE_TUNED: self.image,
            Branch.EARLY: {**self.text, **self.image},
        }
        for branch, settings in tuned.items():
            asked = bool(settings) and branch is not Branch.EARLY
            if (branch in models and has_gpu) or asked:
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


def _sorted(name: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """AutoMM's dotted keys, with today's names, and models."""
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
        raise UserError('WIDE takes an object of settings, such as {"WIDE": {"C": 3}}, or a list of such.')
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
    """All dotted keys, from AutoMM's own configuration files, without importing it."""
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

    found = {
        key
        for part in ("model", "data", "optim", "env")
        for path in sorted((root / part).glob("*.yaml"))
        for key in walk(OmegaConf.to_container(OmegaConf.load(path)), "")  # type: ignore[arg-type]
    }
    return sorted(key for key in found if "." in key)
