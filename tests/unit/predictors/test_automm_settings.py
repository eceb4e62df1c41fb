"""Every key of AutoGluon's customisation page, from our hyperparameter to AutoMM's own configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from multimodal_algo.branches.registry import FINE_TUNED
from multimodal_algo.config.automm_keys import current_name, defaults
from multimodal_algo.config.customisation import Customisation
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import RECIPES, Branch
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality
from multimodal_algo.predictors.finetune._automm_compat import learner_of
from multimodal_algo.predictors.finetune.files import multimodal
from multimodal_algo.predictors.finetune.settings import automm_settings

STARTS = {f"model.{network}.checkpoint_name": f"/start/{network}" for network in ("hf_text", "timm_image", "clip")}
COLUMNS = {
    Branch.TEXT_FINE_TUNED: {Modality.TEXT},
    Branch.IMAGE_FINE_TUNED: {Modality.IMAGE},
    Branch.EARLY: set(Modality),
}

# The keys that any network has, as the page spells them, with a value that is not AutoMM's default.
ANY = {
    "optimization.learning_rate": 2e-5,
    "optimization.lr_decay": 0.7,
    "optimization.lr_mult": 10,
    "optimization.lr_choice": "two_stages",
    "optimization.optim_type": "sgd",
    "optimization.weight_decay": 0.1,
    "optimization.lr_schedule": "linear_decay",
    "optimization.max_epochs": 3,
    "optimization.max_steps": 7,
    "optimization.warmup_steps": 0.3,
    "optimization.patience": 2,
    "optimization.val_check_interval": 0.25,
    "optimization.gradient_clip_algorithm": "value",
    "optimization.gradient_clip_val": 0.5,
    "optimization.track_grad_norm": 2,
    "optimization.top_k": 4,
    "optimization.top_k_average_method": "uniform_soup",
    "optimization.efficient_finetune": "ia3_bias",
    "optim.end_lr": 1e-6,
    "optim.check_val_every_n_epoch": 2,
    "optim.skip_final_val": True,
    "optim.label_smoothing": 0.1,
    "optim.log_every_n_steps": 5,
    "optim.lora.r": 4,
    "optim.lora.alpha": 16,
    "optim.lora.filter": ["dense"],
    "optim.lora.module_filter": [".*attention.*"],
    "optim.loss_func": "focal_loss",
    "optim.focal_loss.gamma": 1.5,
    "optim.focal_loss.alpha": [0.2, 0.8],
    "optim.focal_loss.reduction": "sum",
    "optim.extra_trainable_params": ["pooler"],
    "env.num_gpus": 0,
    "env.per_gpu_batch_size": 4,
    "env.batch_size": 16,
    "env.eval_batch_size_ratio": 2,
    "env.precision": "bf16-mixed",
    "env.num_workers": 1,
    "env.num_workers_evaluation": 1,
    "env.accelerator": "cpu",
    "env.deterministic": True,
    "env.compile.turn_on": True,
    "env.compile.mode": "reduce-overhead",
    "env.compile.dynamic": False,
    "env.compile.backend": "eager",
    "data.label.numerical_preprocessing": "minmaxscaler",
}
TEXT = {
    "model.names": ["hf_text"],
    "model.hf_text.checkpoint_name": "/mine",
    "model.hf_text.pooling_mode": "cls",
    "model.hf_text.tokenizer_name": "bert",
    "model.hf_text.max_text_len": 100,
    "model.hf_text.insert_sep": False,
    "model.hf_text.text_segment_num": 1,
    "model.hf_text.stochastic_chunk": True,
    "model.hf_text.text_aug_detect_length": 5,
    "model.hf_text.text_trivial_aug_maxscale": 0.05,
    "model.hf_text.text_train_augment_types": ["random_swap(0.05)", "insert_punc"],
    "model.hf_text.gradient_checkpointing": True,
    "model.hf_text.low_cpu_mem_usage": True,
    "model.hf_text.use_fast": False,
    "data.text.normalize_text": True,
}
CLIP_TEXT = {"model.clip.checkpoint_name": "/mine", "model.clip.max_text_len": 20}
IMAGE = {
    "model.names": ["timm_image"],
    "model.timm_image.checkpoint_name": "/mine",
    "model.timm_image.train_transforms": ["resize_to_square", "random_horizontal_flip", "randaug(2, 9)"],
    "model.timm_image.val_transforms": ["resize_to_square"],
    "model.timm_image.image_norm": "inception",
    "model.timm_image.image_size": 288,
    "model.timm_image.mix_choice": "all_images",
    "model.timm_image.use_learnable_image": True,
    "data.image.missing_value_strategy": "skip",
    "data.mixup.turn_on": True,
    "data.mixup.mixup_alpha": 0.4,
    "data.mixup.cutmix_alpha": 0.5,
    "data.mixup.cutmix_minmax": [0.2, 0.8],
    "data.mixup.prob": 0.5,
    "data.mixup.switch_prob": 0.9,
    "data.mixup.mode": "elem",
    "data.mixup.turn_off_epoch": 2,
    "data.mixup.label_smoothing": 0.2,
}
CLIP_IMAGE = {
    "model.clip.checkpoint_name": "/mine",
    "model.clip.train_transforms": ["center_crop"],
    "model.clip.image_size": 336,
}
ALL = {
    "model.names": ["hf_text", "timm_image", "ft_transformer", "fusion_transformer"],
    "model.ft_transformer.checkpoint_name": "/mine.ckpt",
    "model.ft_transformer.num_blocks": 2,
    "model.ft_transformer.token_dim": 64,
    "model.ft_transformer.hidden_size": 64,
    "model.ft_transformer.ffn_hidden_size": 96,
    "model.ft_transformer.attention_num_heads": 4,
    "model.ft_transformer.attention_dropout": 0.1,
    "model.ft_transformer.additive_attention": "auto",
    "model.ft_transformer.embedding_arch": ["linear", "relu"],
    "model.fusion_transformer.hidden_size": 96,
    "data.categorical.minimum_cat_count": 5,
    "data.categorical.maximum_num_cat": 50,
    "data.categorical.convert_to_text_template": "list",
    "data.numerical.scaler_with_mean": False,
    "data.numerical.scaler_with_std": False,
    "data.modality_dropout": 0.2,
    "optim.cross_modal_align_weight": 0.5,
    "optim.lemda.z_dim": 4,
}
MLPS = {
    "model.numerical_mlp.hidden_size": 32,
    "model.categorical_mlp.drop_rate": 0.2,
    "model.fusion_mlp.hidden_sizes": [64, 32],
    "model.fusion_mlp.weight": 0.1,
}
TEXTS = {"data.categorical.convert_to_text": True, "data.numerical.convert_to_text": True}
TEXT_BRANCH = ("text_hyperparameters", Branch.TEXT_FINE_TUNED)
IMAGE_BRANCH = ("image_hyperparameters", Branch.IMAGE_FINE_TUNED)
ALL_COLUMNS = ("text_hyperparameters", Branch.EARLY)
TABLE = [
    (*TEXT_BRANCH, ANY | TEXT),
    (*TEXT_BRANCH, CLIP_TEXT),
    (*IMAGE_BRANCH, ANY | IMAGE),
    (*IMAGE_BRANCH, CLIP_IMAGE),
    (*ALL_COLUMNS, ALL),
    (*ALL_COLUMNS, MLPS),
    (*ALL_COLUMNS, TEXTS),
    (*ALL_COLUMNS, {"model.fusion_transformer.num_blocks": 1}),
]


def settings_of(name: str, branch: Branch, values: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return what AutoMM gets for a branch that the values ask for."""
    hyperparameters = HyperParameters.parse({name: json.dumps(values), **options.pop("job", {})})
    recipe = Customisation.of(hyperparameters).apply(RECIPES["toy"], fine_tuned=FINE_TUNED, has_gpu=False)
    return automm_settings(COLUMNS[branch], {**STARTS, **recipe.models[branch]}, **{"rows": 1000, **options})


def read_back(settings: dict[str, Any], *, has_teacher: bool = False) -> Any:
    """Return the configuration that AutoMM's learner makes of the settings."""
    learner = learner_of(multimodal()(label="label", problem_type="multiclass", verbosity=0))
    learner._teacher_learner = object() if has_teacher else None
    return learner.get_config_per_run(None, settings)


@pytest.mark.parametrize(("name", "branch", "values"), TABLE)
def test_keys_reach_automm(name: str, branch: Branch, values: dict[str, Any]) -> None:
    current = {current_name(key): value for key, value in values.items()}
    found = read_back(settings_of(name, branch, values))
    assert {key: value_of(found, key) for key in current} == current
    same = {key for key, value in current.items() if value == defaults()[key]}
    assert same <= {"model.hf_text.pooling_mode"}, "the table has values that are not the default"


def value_of(config: Any, key: str) -> Any:
    from omegaconf import OmegaConf

    found = OmegaConf.select(config, key)
    return OmegaConf.to_container(found) if OmegaConf.is_config(found) else found


def test_keys_of_a_teacher_reach_automm() -> None:
    values = {"distiller.temperature": 2.0, "distiller.hard_label_weight": 0.4}
    settings = settings_of(
        "text_hyperparameters", Branch.TEXT_FINE_TUNED, values, has_teacher=True, job={"distill_from": "model"}
    )
    distiller = read_back(settings, has_teacher=True).distiller
    assert (distiller.temperature, distiller.hard_label_weight) == (2.0, 0.4)
    # A part whose teacher knows other classes is fitted without it, and AutoMM then refuses the key.
    assert not any(key.startswith("distiller.") for key in automm_settings({Modality.TEXT}, settings, rows=9))


def test_two_networks_of_a_kind_have_names_of_their_own() -> None:
    values = {"model.names": ["hf_text_a", "hf_text_b"], "model.hf_text_b.checkpoint_name": "/b"}
    settings = settings_of("text_hyperparameters", Branch.TEXT_FINE_TUNED, values)
    model = read_back(settings).model
    assert list(model.names) == ["hf_text_a", "hf_text_b", "fusion_mlp"]
    assert (model.hf_text_a.checkpoint_name, model.hf_text_b.checkpoint_name) == ("/start/hf_text", "/b")
    assert model.hf_text_a.pooling_mode == "mean"


def test_clip_reads_the_columns_that_there_are() -> None:
    settings = settings_of("image_hyperparameters", Branch.IMAGE_FINE_TUNED, {"model.names": "clip"})
    assert (settings["model.names"], settings["model.clip.data_types"]) == (["clip"], ["image"])
    both = {name: '{"model.names": ["clip"]}' for name in ("text_hyperparameters", "image_hyperparameters")}
    customisation = Customisation.of(HyperParameters.parse(both))
    models = customisation.apply(RECIPES["toy"], fine_tuned=FINE_TUNED, has_gpu=False).models
    assert Branch.TEXT_FINE_TUNED not in models
    early = automm_settings({Modality.TEXT, Modality.IMAGE, Modality.NUM}, {**STARTS, **models[Branch.EARLY]}, rows=9)
    assert early["model.names"] == ["clip", "ft_transformer", "fusion_mlp"]
    assert early["model.clip.data_types"] == ["text", "image"]


def test_numbers_as_texts_reach_the_text_network() -> None:
    values = {"data.numerical.convert_to_text": True}
    settings = automm_settings({Modality.IMAGE, Modality.NUM}, {**STARTS, **values}, rows=9)
    assert settings["model.names"] == ["hf_text", "timm_image", "fusion_mlp"]


def test_a_network_without_columns_is_refused() -> None:
    with pytest.raises(UserError, match="none of them reads columns of the kind image"):
        automm_settings({Modality.IMAGE}, {**STARTS, "model.names": ["hf_text"]}, rows=9)
    with pytest.raises(UserError, match=r"Set model\.timm_image\.checkpoint_name"):
        automm_settings({Modality.IMAGE}, {}, rows=9)


def test_the_validation_interval_is_at_most_an_epoch() -> None:
    values = {**STARTS, "optim.val_check_interval": 50, "env.per_gpu_batch_size": 8}
    assert automm_settings({Modality.TEXT}, values, rows=100)["optim.val_check_interval"] == 12
    assert automm_settings({Modality.TEXT}, values, rows=4)["optim.val_check_interval"] == 1
    assert automm_settings({Modality.TEXT}, values, rows=10_000)["optim.val_check_interval"] == 50
