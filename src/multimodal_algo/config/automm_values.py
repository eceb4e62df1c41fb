"""The values that AutoMM's dotted hyperparameters accept.

A value must have the type of AutoMM's default. Where the default does not show the type, or where AutoMM only accepts
a few words, the values are declared here. They were taken from the sources of AutoMM 1.6.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A kind of value that a key accepts, for example a number from 0.

    Parameters
    ----------
    description
        What the value must be, for messages: "a number from 0".
    accepts
        Function that decides whether a value is of this kind.
    """

    description: str
    accepts: Callable[[Any], bool]

    def or_null(self) -> Kind:
        """Return the kind that accepts the same values and null."""
        return Kind(f"{self.description}, or null", lambda value: value is None or self.accepts(value))

    def list_of(self) -> Kind:
        """Return the kind that accepts lists of such values."""
        return Kind(f"a list, each item of it {self.description}", lambda value: _is_list_of(value, self.accepts))


def complaint(key: str, default: Any, value: Any) -> str | None:
    """Return the end of a message about a wrong value: a description of right ones. None if the value is right.

    Parameters
    ----------
    key
        A key of AutoMM's default configuration.
    default
        The default value of the key there.
    value
        The value to check.
    """
    kind = next((kind for pattern, kind in _DECLARED.items() if fnmatchcase(key, pattern)), None) or _like(default)
    return None if kind.accepts(value) else kind.description


def _number(least: float, most: float | None = None) -> Kind:
    until = "" if most is None else f" to {most:g}"
    return Kind(
        f"a number from {least:g}{until}",
        lambda value: _is_number(value) and least <= value and (most is None or value <= most),
    )


def _whole(least: int) -> Kind:
    return Kind(f"a whole number from {least}", lambda value: _is_whole(value) and value >= least)


def _word(*words: str) -> Kind:
    return Kind(f"one of {', '.join(words)}", lambda value: value in words)


def _call(*functions: str) -> Kind:
    """Return the kind that accepts the name of one of these functions, alone or with arguments: ``randaug(2, 9)``."""
    pattern = re.compile(rf"({'|'.join(functions)})(\(.*\))?")
    return Kind(
        f"one of {', '.join(functions)}, with arguments in brackets if you like",
        lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value - value == 0


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of(value: Any, accepts: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(accepts, value))


_SWITCH = Kind("true or false", lambda value: isinstance(value, bool))
_TEXT = Kind("a text", lambda value: isinstance(value, str) and bool(value.strip()))
_SHARE = _number(0, 1)
_NAMES = Kind(
    'a list of networks, for example ["hf_text"]',
    lambda value: isinstance(value, str) or _is_list_of(value, lambda name: isinstance(name, str)),
)
_TRANSFORMS = _call(
    "resize_to_square", "resize_shorter_side", "center_crop", "random_resize_crop", "random_horizontal_flip",
    "random_vertical_flip", "color_jitter", "affine", "randaug", "trivial_augment",
).list_of()  # fmt: skip
_PAIR = Kind(
    "a list of two numbers from 0 to 1",
    lambda value: _is_list_of(value, _SHARE.accepts) and len(value) == 2,
)
_INTERVAL = Kind(
    "a share of an epoch, above 0 and at most 1, or a whole number of steps",
    lambda value: (_is_number(value) and 0 < value <= 1) or (_is_whole(value) and value > 1),
)
_WARMUP = Kind(
    "a share of the steps from 0 to 1, or a whole number of steps",
    lambda value: (_is_number(value) and 0 <= value <= 1) or (_is_whole(value) and value > 1),
)
_PRECISION = Kind(
    "one of 64, 32, 16-mixed, bf16-mixed, 16-true, bf16-true",
    lambda value: (
        value in (64, 32, 16) or value in ("64", "32", "16", "16-mixed", "bf16-mixed", "16-true", "bf16-true")
    ),
)
_SWITCH_OR_AUTO = Kind('true, false or "auto"', lambda value: isinstance(value, bool) or value == "auto")
_GPUS = Kind("-1, 0 or 1, as each fit takes one GPU. Set env.num_nodes for a fit on several",
             lambda value: _is_whole(value) and value in (-1, 0, 1))  # fmt: skip
_ONE_IMAGE = Kind(
    "1, as AutoMM's CLIP gives other answers for several images of a cell in other batches. timm_image takes several",
    lambda value: _is_whole(value) and value == 1,
)
_ACTIVATION = _word("relu", "leaky_relu", "gelu", "geglu", "reglu", "SiLU", "Mish", "Tanh", "Sigmoid")
_DATA_TYPES = _word("text", "image", "categorical", "numerical").list_of()

_LOSSES = ("auto", "focal_loss", "mseloss", "crossentropyloss", "bcewithlogitsloss")

# The first pattern that fits a key counts.
_DECLARED: Mapping[str, Kind] = {
    "model.names": _NAMES,
    "model.*.data_types": _DATA_TYPES,
    "model.ft_transformer.checkpoint_name": _TEXT.or_null(),
    "model.*.checkpoint_name": _TEXT,
    "model.*.pooling_mode": _word("cls", "mean"),
    "model.*.tokenizer_name": _word("hf_auto", "bert", "electra", "clip"),
    "model.*.max_text_len": _whole(-1).or_null(),
    "model.*.text_segment_num": _whole(1),
    "model.*.text_aug_detect_length": _whole(0),
    "model.*.text_trivial_aug_maxscale": _SHARE,
    "model.*.text_train_augment_types": _call("random_swap", "random_delete", "syn_replacement", "insert_punc")
    .list_of().or_null(),
    "model.*.train_transforms": _TRANSFORMS,
    "model.*.val_transforms": _TRANSFORMS,
    "model.*.image_norm": _word("imagenet", "inception", "clip").or_null(),
    "model.*.image_size": _whole(1).or_null(),
    "model.*.image_chan_num": Kind("3, as all images are RGB", lambda value: _is_whole(value) and value == 3),
    "model.clip*.max_image_num_per_column": _ONE_IMAGE,
    "model.*.max_image_num_per_column": _whole(1),
    "model.*.mix_choice": _word("all_images", "all_logits"),
    "model.*.embedding_arch": _word(
        "linear", "relu", "leaky_relu", "layernorm", "positional", "shared_linear", "autodis"
    ).list_of().or_null(),
    "model.*.additive_attention": _SWITCH_OR_AUTO,
    "model.*.share_qv_weights": _SWITCH_OR_AUTO,
    "model.*.aux_loss_weight": _number(0).or_null(),
    "model.*.adapt_in_features": _word("min", "max").or_null(),
    "model.*.hidden_sizes": _whole(1).list_of(),
    "model.*_transformer.normalization": _word("layer_norm"),
    "model.*.normalization": _word("layer_norm", "batch_norm", "ghost_batch_norm"),
    "model.*.activation": _word("leaky_relu", "relu", "gelu"),
    "model.*_activation": _ACTIVATION,
    "model.*.merge": _word("concat", "mean"),
    "model.*dropout": _SHARE,
    "data.image.missing_value_strategy": _word("zero", "skip"),
    "data.categorical.convert_to_text_template": _word("direct", "list", "text", "latex"),
    "data.categorical.m*": _whole(1),
    "data.label.numerical_preprocessing": _word("standardscaler", "minmaxscaler").or_null(),
    "data.mixup.cutmix_minmax": _PAIR.or_null(),
    "data.mixup.mode": _word("batch", "elem"),
    "data.mixup.turn_off_epoch": _whole(0),
    "data.mixup.*_alpha": _number(0),
    "data.mixup.turn_on": _SWITCH,
    "data.mixup.*": _SHARE,
    "data.modality_dropout": _SHARE,
    "optim.optim_type": _word("adamw", "adam", "sgd", "adafactor"),
    "optim.lr": Kind("a number above 0", lambda value: _is_number(value) and value > 0),
    "optim.lr_choice": _word("layerwise_decay", "two_stages", "single_stage").or_null(),
    "optim.lr_decay": _SHARE,
    "optim.lr_schedule": _word("cosine_decay", "polynomial_decay", "linear_decay", "multi_step"),
    "optim.max_epochs": _whole(1),
    "optim.max_steps": _whole(-1),
    "optim.warmup_steps": _WARMUP,
    "optim.patience": _whole(1),
    "optim.val_check_interval": _INTERVAL,
    "optim.check_val_every_n_epoch": _whole(1),
    "optim.gradient_clip_val": _number(0).or_null(),
    "optim.gradient_clip_algorithm": _word("norm", "value"),
    "optim.track_grad_norm": _number(-1),
    "optim.log_every_n_steps": _whole(1),
    "optim.label_smoothing": _SHARE,
    "optim.top_k": _whole(1),
    "optim.top_k_average_method": _word("greedy_soup", "uniform_soup", "best"),
    "optim.peft": _word(
        "bit_fit", "norm_fit", "lora", "lora_bias", "lora_norm", "ia3", "ia3_bias", "ia3_norm", "ia3_lora",
        "ia3_lora_bias",
    ).or_null(),
    "optim.lora.module_filter": _TEXT.list_of().or_null(),
    "optim.lora.filter": _TEXT.list_of(),
    "optim.lora.*": _whole(1),
    "optim.loss_func": Kind(
        "one of auto, focal_loss, BCEWithLogitsLoss",
        lambda value: isinstance(value, str) and value.lower().removeprefix("nn.") in _LOSSES,
    ),
    "optim.focal_loss.alpha": _number(0).list_of().or_null(),
    "optim.focal_loss.reduction": _word("mean", "sum"),
    "optim.extra_trainable_params": _TEXT.list_of(),
    "optim.cross_modal_align": _word("positive_only").or_null(),
    "optim.lemda.arch_type": _word("mlp_vae"),
    "optim.lemda.optim_type": _word("adamw", "adam", "sgd", "adafactor"),
    "env.num_gpus": _GPUS,
    "env.num_nodes": _whole(1),
    "env.batch_size": _whole(1),
    "env.per_gpu_batch_size": _whole(1),
    "env.inference_batch_size_ratio": _number(0),
    "env.num_workers*": _whole(0),
    "env.precision": _PRECISION,
    "env.accelerator": _word("cpu", "gpu", "auto"),
    "env.compile.mode": _word("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"),
    "distiller.soft_label_loss_type": Kind(
        "one of mse, cross_entropy, or empty", lambda value: value in ("", "mse", "cross_entropy")
    ),
    "distiller.softmax_regression_loss_type": Kind(
        "one of mse, cross_entropy, or empty", lambda value: value in ("", "mse", "cross_entropy")
    ),
    "distiller.output_feature_loss_type": _word("mse", "cosine"),
}  # fmt: skip


def _like(default: Any) -> Kind:
    """Return the kind that accepts values of the type of `default`."""
    if isinstance(default, bool):
        return _SWITCH
    if isinstance(default, int):
        return _whole(1) if default >= 1 else _number(0)
    if isinstance(default, float):
        return _number(0)
    if isinstance(default, Sequence) and not isinstance(default, str):
        return _TEXT.list_of()
    return _TEXT
