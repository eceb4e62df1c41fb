from __future__ import annotations

import json
from typing import Any

import pytest

from multimodal_algo.config.automm_keys import NETWORKS, REFUSED, checked, defaults
from multimodal_algo.config.customisation import Customisation
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.errors import UserError

HONOURED = [
    key
    for key, value in defaults().items()
    if value is not None and not any(f"{key}.".startswith(f"{beginning}.") for beginning in REFUSED)
]


def refusal(values: dict[str, Any], name: str = "text_hyperparameters", **others: str) -> str:
    with pytest.raises(UserError) as caught:
        Customisation.of(HyperParameters.parse({name: json.dumps(values), **others}))
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert message.endswith((".", "?"))
    return message


@pytest.mark.parametrize("key", HONOURED)
def test_a_default_of_automm_is_a_value_that_is_accepted(key: str) -> None:
    assert checked("text_hyperparameters", {key: defaults()[key]}) == {key: defaults()[key]}


@pytest.mark.parametrize("beginning", REFUSED)
def test_keys_of_other_tasks_are_refused_with_the_reason(beginning: str) -> None:
    keys = [key for key in defaults() if f"{key}.".startswith(f"{beginning}.")]
    assert keys, "AutoMM does not have the key any more"
    for key in keys:
        assert REFUSED[beginning] in refusal({key: defaults()[key]})


def test_every_network_of_automm_is_honoured_or_refused() -> None:
    networks = {key.split(".")[1] for key in defaults() if key.startswith("model.") and key != "model.names"}
    assert networks == {*NETWORKS} | {key.removeprefix("model.") for key in REFUSED if key.startswith("model.")}


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("optim.learning_rat", "optim.lr"),
        ("optim.lrr", "optim.lr"),
        ("optimization.gradient_clip", "optim.gradient_clip_val"),
        ("env.numworkers", "env.num_workers"),
        ("model.hf_text.checkpoint", "model.hf_text.checkpoint_name"),
        ("model.hf_txt.checkpoint_name", "model.hf_text.checkpoint_name"),
        ("model.clip.maxtextlen", "model.clip.max_text_len"),
        ("data.mixup.turnon", "data.mixup.turn_on"),
        ("compile.turn_on", "env.compile.turn_on"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(key: str, nearest: str) -> None:
    message = refusal({key: 1})
    assert f"unknown key '{key}'" in message
    assert f"did you mean '{nearest}'?" in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("optim.lr", "1e-4", "a number above 0"),
        ("optim.lr", 0, "a number above 0"),
        ("optim.lr", True, "a number above 0"),
        ("optim.max_epochs", 2.5, "a whole number from 1"),
        ("optim.max_epochs", None, "a whole number from 1"),
        ("optimization.optim_type", "adamax", "one of adamw, adam, sgd, adafactor"),
        ("optim.peft", "qlora", "or null"),
        ("optim.top_k_average_method", "soup", "greedy_soup"),
        ("optim.val_check_interval", 1.5, "a share of an epoch"),
        ("optim.warmup_steps", -1, "a share of the steps"),
        ("optim.lora.filter", "query", "a list"),
        ("optim.focal_loss.alpha", ["a"], "a list"),
        ("env.compile.turn_on", "true", "true or false"),
        ("env.precision", 8, "bf16-mixed"),
        ("env.num_workers", -1, "a whole number from 0"),
        ("env.num_gpus", 4, "Set env.num_nodes"),
        ("model.names", 3, "a list of networks"),
        ("model.hf_text.checkpoint_name", 7, "a text"),
        ("model.hf_text.checkpoint_name", "", "a text"),
        ("model.hf_text.max_text_len", "long", "a whole number from -1, or null"),
        ("model.hf_text.pooling_mode", "max", "one of cls, mean"),
        ("model.hf_text.text_train_augment_types", ["shuffle"], "random_swap"),
        ("model.hf_text_a.max_text_len", [1], "a whole number"),
        ("data.text.normalize_text", 1, "true or false"),
        ("data.categorical.convert_to_text_template", "html", "one of direct, list, text, latex"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(key: str, value: object, expected: str) -> None:
    message = refusal({key: value})
    assert f"{key} is {json.dumps(value)}, and it must be " in message
    assert expected in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("model.timm_image.train_transforms", ["crop"], "a list, each item of it one of resize_to_square"),
        ("model.clip.max_image_num_per_column", 3, "timm_image takes several"),
        ("model.timm_image.max_image_num_per_column", 0, "a whole number from 1"),
        ("data.mixup.cutmix_minmax", [0.1], "a list of two numbers"),
        ("data.mixup.mode", "pair", "one of batch, elem"),
        ("data.image.missing_value_strategy", "mean", "one of zero, skip"),
    ],
)
def test_a_value_of_images_of_the_wrong_type_is_refused(key: str, value: object, expected: str) -> None:
    assert expected in refusal({key: value}, "image_hyperparameters")


def test_a_long_value_is_cut() -> None:
    assert len(refusal({"optim.lr": "x" * 500})) < 150


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"model.names": []}, "is empty"),
        ({"model.names": ["hf_txt"]}, "did you mean 'hf_text'?"),
        ({"model.names": ["hf_text", "sam"]}, "segmentation"),
        ({"model.names": ["fusion_mlp"]}, "no network that reads a column"),
        ({"model.names": ["hf_text", "fusion_mlp", "fusion_transformer"]}, "two networks that join"),
        ({"model.names": ["hf_text", "hf_text_b"]}, "hf_text_a and hf_text_b"),
        ({"model.names": ["hf_text"], "model.clip.max_text_len": 9}, "Add clip there"),
        ({"model.hf_text_b.max_text_len": 9}, "List hf_text_b in model.names"),
        ({"model.timm_image.image_size": 224}, "Set it in image_hyperparameters"),
        ({"data.mixup.turn_on": True}, "Set it in image_hyperparameters"),
        ({"optim.lr": 1e-4, "optimization.learning_rate": 1e-5}, "stands there twice"),
        ({"distiller.temperature": 3.0}, "Set distill_from=model"),
        ({"optim.cross_modal_align": "positive_only"}, "needs optim.cross_modal_align_weight"),
        ({"optim.lemda.turn_on": True}, "needs optim.automatic_optimization"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(values: dict[str, Any], expected: str) -> None:
    assert expected in refusal(values)


def test_a_key_of_texts_among_those_of_images_is_refused() -> None:
    assert "Set it in text_hyperparameters" in refusal({"data.text.normalize_text": True}, "image_hyperparameters")
    assert "Set it in text_hyperparameters" in refusal({"model.hf_text.max_text_len": 9}, "image_hyperparameters")


def test_a_key_of_automm_among_tabular_models_is_refused() -> None:
    assert "is a key of AutoMM" in refusal({"model.ft_transformer.num_blocks": 2}, "tabular_hyperparameters")
