from __future__ import annotations

import json

import pytest

from multimodal_algo.branches.registry import FINE_TUNED
from multimodal_algo.config.automm_networks import without_weights
from multimodal_algo.config.customisation import Customisation
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import RECIPES, Branch
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality


def custom(**values: object) -> Customisation:
    return Customisation.of(HyperParameters.parse({name: json.dumps(value) for name, value in values.items()}))


def test_nothing_set_changes_nothing() -> None:
    assert custom().apply(RECIPES["toy"], fine_tuned=FINE_TUNED, has_gpu=False) == RECIPES["toy"]


@pytest.mark.parametrize(
    ("key", "current", "value"),
    [
        ("optim.lr", "optim.lr", 1e-4),
        ("optimization.max_epochs", "optim.max_epochs", 3),
        ("optimization.learning_rate", "optim.lr", 1e-4),
        ("optimization.efficient_finetune", "optim.peft", "lora"),
        ("env.num_workers_evaluation", "env.num_workers_inference", 1),
        ("model.hf_text.checkpoint_name", "model.hf_text.checkpoint_name", "/mine"),
    ],
)
def test_keys_of_automm_fine_tune_a_network(key: str, current: str, value: object) -> None:
    recipe = custom(text_hyperparameters={key: value}).apply(RECIPES["toy"], fine_tuned=FINE_TUNED, has_gpu=False)
    assert recipe.models[Branch.TEXT_FINE_TUNED] == {current: value}
    assert Branch.TEXT in recipe.models


@pytest.mark.parametrize(
    ("text", "image", "asked"),
    [
        ({"optim.lr": 1e-4}, {}, {Branch.TEXT_FINE_TUNED}),
        ({}, {"model.names": ["timm_image"]}, {Branch.IMAGE_FINE_TUNED}),
        ({"model.names": "hf_text"}, {"optim.lr": 1e-4}, {Branch.TEXT_FINE_TUNED, Branch.IMAGE_FINE_TUNED}),
        ({"model.names": ["hf_text", "timm_image", "fusion_mlp"]}, {}, {Branch.EARLY}),
        ({"model.names": ["hf_text", "ft_transformer"]}, {}, {Branch.EARLY}),
        ({"model.names": ["hf_text_a", "hf_text_b", "fusion_mlp"]}, {}, {Branch.TEXT_FINE_TUNED}),
        ({}, {"model.clip.checkpoint_name": "/clip"}, {Branch.IMAGE_FINE_TUNED}),
        ({"model.names": ["clip"]}, {"model.names": ["clip"]}, {Branch.EARLY}),
        ({"model.ft_transformer.num_blocks": 2}, {}, {Branch.EARLY}),
        ({}, {"data.categorical.convert_to_text": True}, {Branch.EARLY}),
        ({"optim.lr": 1e-4, "model.ft_transformer.num_blocks": 2}, {}, {Branch.TEXT_FINE_TUNED, Branch.EARLY}),
    ],
)
def test_keys_ask_for_the_branches_that_they_concern(
    text: dict[str, object], image: dict[str, object], asked: set[Branch]
) -> None:
    customisation = custom(text_hyperparameters=text, image_hyperparameters=image)
    models = customisation.apply(RECIPES["toy"], fine_tuned=FINE_TUNED, has_gpu=False).models
    assert models.keys() & FINE_TUNED.keys() == asked


def test_keys_of_all_columns_do_not_reach_the_network_of_one_modality() -> None:
    values = {"optim.lr": 1e-4, "model.ft_transformer.num_blocks": 2}
    models = custom(text_hyperparameters=values).apply(RECIPES["toy"], fine_tuned=FINE_TUNED, has_gpu=False).models
    assert models[Branch.TEXT_FINE_TUNED] == {"optim.lr": 1e-4}
    assert models[Branch.EARLY] == values


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [Modality.TEXT, Modality.IMAGE]),
        ({"model.hf_text.checkpoint_name": "/mine"}, [Modality.IMAGE]),
        ({"model.names": ["clip"]}, []),
        ({"model.names": ["hf_text_a", "hf_text_b"], "model.hf_text_a.checkpoint_name": "/mine"}, [Modality.TEXT]),
    ],
)
def test_networks_whose_weights_are_named_do_not_start_from_those_of_the_job(
    settings: dict[str, object], expected: list[Modality]
) -> None:
    assert without_weights([Modality.TEXT, Modality.IMAGE], settings) == expected


def test_networks_named_for_one_modality_leave_the_others_of_early_fusion_as_they_are() -> None:
    named = custom(image_hyperparameters={"model.names": ["timm_image_a", "timm_image_b"]})
    models = named.apply(RECIPES["best"], fine_tuned=FINE_TUNED, has_gpu=True).models
    assert models[Branch.EARLY]["model.names"] == ["hf_text", "timm_image_a", "timm_image_b", "ft_transformer"]


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
