from __future__ import annotations

import json

import pytest

from multimodal_algo.branches.registry import FINE_TUNED
from multimodal_algo.config.customisation import Customisation
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import RECIPES, Branch
from multimodal_algo.core.errors import UserError


def custom(**values: object) -> Customisation:
    return Customisation.of(HyperParameters.parse({name: json.dumps(value) for name, value in values.items()}))


def test_nothing_set_changes_nothing() -> None:
    assert custom().apply(RECIPES["toy"], fine_tuned=FINE_TUNED, has_gpu=False) == RECIPES["toy"]


@pytest.mark.parametrize(
    ("key", "current"),
    [
        ("optim.lr", "optim.lr"),
        ("optimization.max_epochs", "optim.max_epochs"),
        ("optimization.learning_rate", "optim.lr"),
        ("optimization.efficient_finetune", "optim.peft"),
        ("optim.lr_decay", "optim.lr_decay"),
        ("optim.lr_schedule", "optim.lr_schedule"),
        ("optim.patience", "optim.patience"),
        ("optim.val_check_interval", "optim.val_check_interval"),
        ("optim.top_k", "optim.top_k"),
        ("optim.top_k_average_method", "optim.top_k_average_method"),
        ("optim.gradient_clip_val", "optim.gradient_clip_val"),
        ("optim.peft", "optim.peft"),
        ("env.per_gpu_batch_size", "env.per_gpu_batch_size"),
        ("env.batch_size", "env.batch_size"),
        ("env.precision", "env.precision"),
        ("env.compile.turn_on", "env.compile.turn_on"),
        ("model.hf_text.checkpoint_name", "model.hf_text.checkpoint_name"),
        ("model.hf_text.max_text_len", "model.hf_text.max_text_len"),
        ("model.hf_text.pooling_mode", "model.hf_text.pooling_mode"),
        ("model.hf_text.gradient_checkpointing", "model.hf_text.gradient_checkpointing"),
        ("model.timm_image.checkpoint_name", "model.timm_image.checkpoint_name"),
        ("model.timm_image.train_transforms", "model.timm_image.train_transforms"),
        ("data.categorical.minimum_cat_count", "data.categorical.minimum_cat_count"),
    ],
)
def test_keys_of_automm_fine_tune_a_network(key: str, current: str) -> None:
    recipe = custom(text_hyperparameters={key: 3}).apply(RECIPES["toy"], fine_tuned=FINE_TUNED, has_gpu=False)
    assert recipe.models[Branch.TEXT_FINE_TUNED] == {current: 3}
    assert Branch.TEXT in recipe.models


def test_a_recipe_fine_tunes_on_a_gpu_only() -> None:
    assert Branch.EARLY in custom().apply(RECIPES["best"], fine_tuned=FINE_TUNED, has_gpu=True).models
    without = custom().apply(RECIPES["best"], fine_tuned=FINE_TUNED, has_gpu=False).models
    assert without.keys() == RECIPES["default"].models.keys()


def test_models_replace_those_of_the_recipe() -> None:
    changed = custom(
        tabular_hyperparameters={"GBM": {"num_leaves": 3}}, text_hyperparameters={"WIDE": [{"C": 1}, {"C": 2}]}
    ).apply(RECIPES["very_light"], fine_tuned=FINE_TUNED, has_gpu=False)
    assert changed.models[Branch.NUM] == changed.models[Branch.TABLE] == {"GBM": {"num_leaves": 3}}
    assert changed.models[Branch.TEXT] == {"WIDE": [{"C": 1}, {"C": 2}]}
    assert changed.models[Branch.JOINT] == RECIPES["very_light"].models[Branch.JOINT]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("text_hyperparameters", {"optim.lrr": 1}, "unknown key 'optim.lrr': did you mean 'optim.lr'?"),
        (
            "text_hyperparameters",
            {"optimization.max_epoch": 1},
            "'optimization.max_epoch': did you mean 'optim.max_epochs",
        ),
        ("image_hyperparameters", {"learning_rate": 1}, "unknown key 'learning_rate'"),
        ("text_hyperparameters", {"WIDE": {"c": 1}}, "unknown key 'c'"),
        ("tabular_hyperparameters", {"GBMM": {}}, "did you mean 'GBM'?"),
        ("fusion_hyperparameters", {"drop_out": 0.1}, "did you mean 'dropout'?"),
        ("fusion_hyperparameters", {"dropout": "much"}, "must be a number"),
        ("text_hyperparameters", [1], "must be a JSON object"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest(name: str, value: object, told: str) -> None:
    with pytest.raises(UserError) as caught:
        custom(**{name: value})
    assert told in str(caught.value)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(UserError, match="text_hyperparameters is not JSON"):
        Customisation.of(HyperParameters.parse({"text_hyperparameters": "{lr: 1}"}))
