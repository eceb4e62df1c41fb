"""AutoMM's dotted hyperparameters (such as ``optim.lr``): which exist, and which of them a job accepts.

AutoMM is the library behind AutoGluon's ``MultiModalPredictor``. ``automm_defaults.json`` has its keys and
defaults.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from multimodal_algo.config.automm_values import complaint
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality

NAMES = "model.names"
"""The key that lists the networks of a fit."""
NETWORKS: Mapping[str, tuple[Modality, ...]] = {
    "hf_text": (Modality.TEXT,),
    "timm_image": (Modality.IMAGE,),
    "clip": (Modality.TEXT, Modality.IMAGE),
    "ft_transformer": (Modality.NUM, Modality.CAT),
    "numerical_mlp": (Modality.NUM,),
    "categorical_mlp": (Modality.CAT,),
    "fusion_mlp": (),
    "fusion_transformer": (),
}
"""The networks of AutoMM that this system fits, with the modalities that they read. Those without join the others."""

# Former names of AutoMM's hyperparameters. Its own `config.py` translates them too, but only some of those that begin
# with `optimization.`.
_RENAMED = {
    "optim.learning_rate": "optim.lr",
    "optim.efficient_finetune": "optim.peft",
    "optim.loss_function": "optim.loss_func",
    "env.num_workers_evaluation": "env.num_workers_inference",
    "env.eval_batch_size_ratio": "env.inference_batch_size_ratio",
    "data.label.numerical_label_preprocessing": "data.label.numerical_preprocessing",
    "model.categorical_mlp.drop_rate": "model.categorical_mlp.dropout",
    "model.numerical_mlp.drop_rate": "model.numerical_mlp.dropout",
    "model.numerical_mlp.d_token": "model.numerical_mlp.token_dim",
    "model.timm_image.max_img_num_per_col": "model.timm_image.max_image_num_per_column",
    "model.clip.max_img_num_per_col": "model.clip.max_image_num_per_column",
    "model.fusion_mlp.weight": "model.fusion_mlp.aux_loss_weight",
    "model.fusion_mlp.drop_rate": "model.fusion_mlp.dropout",
    "model.fusion_transformer.n_blocks": "model.fusion_transformer.num_blocks",
    "model.fusion_transformer.attention_n_heads": "model.fusion_transformer.attention_num_heads",
    "model.fusion_transformer.ffn_d_hidden": "model.fusion_transformer.ffn_hidden_size",
    "model.ft_transformer.attention_n_heads": "model.ft_transformer.attention_num_heads",
}
_ONE_FIT = "a fit runs in one process with at most one GPU"
# Beginnings of keys that AutoMM has and this system does not honour, each with the reason and the remedy.
REFUSED: Mapping[str, str] = {
    "model.mmdet_image": "it is a network for object detection, and this algorithm classifies and regresses rows",
    "model.mmocr_text_detection": "it is a network that finds text in images, and this algorithm classifies and "
    "regresses rows",
    "model.mmocr_text_recognition": "it is a network that reads text in images, and this algorithm classifies and "
    "regresses rows",
    "model.sam": "it is a network for segmentation, and this algorithm classifies and regresses rows",
    "model.ner_text": "it is a network for named entities, and this algorithm classifies and regresses rows",
    "model.fusion_ner": "it is a network for named entities, and this algorithm classifies and regresses rows",
    "model.document_transformer": "it is a network for scanned documents, which no column holds. Use hf_text or "
    "timm_image",
    "model.t_few": "it is a network for few-shot learning, which writes texts. Use hf_text",
    "model.meta_transformer": "it needs its own checkpoint file also in inference. Use hf_text, timm_image and "
    "ft_transformer",
    "optim.mask2former_loss": "it is a loss of segmentation, and this algorithm classifies and regresses rows",
    "optim.lora.conv_lora_expert_num": "it belongs to a method of segmentation. Use optim.lora.r and optim.lora.alpha",
    "data.document": "it is for scanned documents, which no column holds. Images have data.image",
    "data.templates": "it is for few-shot learning. Texts reach hf_text as they are",
    "data.column_features_pooling_mode": "it is for few-shot learning. Leave it out",
    "data.pos_label": "the networks learn numbered classes by log_loss, which needs no positive class. Set eval_metric",
    "matcher": "it is for matching pairs of rows, and this algorithm classifies and regresses rows",
    "env.strategy": f"{_ONE_FIT}. Set env.num_nodes for a fit by several processes",
    "env.deepspeed_allgather_size": f"{_ONE_FIT}, without DeepSpeed. Set env.num_nodes for several processes",
    "env.deepspeed_allreduce_size": f"{_ONE_FIT}, without DeepSpeed. Set env.num_nodes for several processes",
    "env.auto_select_gpus": f"{_ONE_FIT}, which the executor chooses. Leave it out",
}
_KNOWN_NETWORKS = f"known are {', '.join(NETWORKS)}."


@cache
def defaults() -> Mapping[str, Any]:
    """Return all keys of AutoMM's default configuration with their values.

    ``make spec`` writes the file from the installed version. So a machine without AutoMM checks a job as training does.
    """
    return json.loads(files("multimodal_algo.config").joinpath("automm_defaults.json").read_text(encoding="utf-8"))


def current_name(key: str) -> str:
    """Return the present name of a key. AutoMM has renamed some keys, and a user may write an old name."""
    current = "optim." + key.removeprefix("optimization.") if key.startswith("optimization.") else key
    return _RENAMED.get(current, current)


def network_of(key: str) -> str | None:
    """Return the name of the network in a key: ``hf_text`` in ``model.hf_text.max_text_len``.

    None if the key names none.
    """
    parts = key.split(".")
    return parts[1] if len(parts) > 2 and parts[0] == "model" else None


def family_of(network: str) -> str | None:
    """Return the kind of network that a network's name begins with: ``hf_text`` for ``hf_text_large``.

    None if unknown.
    """
    return next((family for family in NETWORKS if network == family or network.startswith(f"{family}_")), None)


def checked(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the dotted hyperparameters that a user has set.

    Return them with old names of keys replaced by present ones.

    Parameters
    ----------
    name
        Name of the JSON hyperparameter that holds the keys, for messages.
    values
        The value of each dotted key.

    Raises
    ------
    UserError
        A key is unknown, and the message proposes the nearest known one. Or a key is for tasks that this algorithm does
        not have. Or a value has the wrong type.
    """
    settings: dict[str, Any] = {}
    for spelled, value in values.items():
        key = current_name(spelled)
        default_key = _default_key(name, key, spelled)
        _refuse(name, key, default_key, spelled)
        wrong = complaint(default_key, defaults()[default_key], value)
        if wrong:
            raise UserError(f"{name}: {spelled} is {_shown(value)}, and it must be {wrong}.")
        if key in settings:
            raise UserError(f"{name}: {spelled} stands there twice, under an old and a new name. Keep one of them.")
        settings[key] = value
    if NAMES in settings:
        settings[NAMES] = _checked_names(name, settings[NAMES])
    return settings


def _default_key(name: str, key: str, spelled: str) -> str:
    """Return the key of AutoMM's default configuration that shows the type of the value of `key`.

    A user may give a network a name of its own: ``model.hf_text_large.…`` has the type of ``model.hf_text.…``.
    """
    network = network_of(key)
    if network is not None and f"model.{network}" not in _networks() and (family := family_of(network)):
        key = f"model.{family}.{key.split('.', 2)[2]}"
    if key not in defaults():
        raise UserError(f"{name}: unknown key '{spelled[:60]}': {nearest(key, [*defaults(), *_RENAMED])}")
    return key


@cache
def _networks() -> frozenset[str]:
    return frozenset(key.rsplit(".", 1)[0] for key in defaults() if key.startswith("model."))


def _refuse(name: str, key: str, default_key: str, spelled: str) -> None:
    for beginning, reason in REFUSED.items():
        if f"{default_key}.".startswith(f"{beginning}."):
            raise UserError(f"{name}: {spelled} is not honoured: {reason}.")


def _checked_names(name: str, value: Any) -> list[str]:
    names = re.split(r"[\s,]+", value.strip()) if isinstance(value, str) else list(value)
    if not names:
        raise UserError(f"{name}: {NAMES} is empty: {_KNOWN_NETWORKS}")
    for network in names:
        reason = REFUSED.get(f"model.{network}")
        if reason:
            raise UserError(f"{name}: {NAMES} holds {network}, which is not honoured: {reason}.")
        if family_of(network) is None:
            raise UserError(f"{name}: {NAMES} holds '{network[:60]}': {nearest(network, list(NETWORKS))}")
    for number, network in enumerate(names):
        if any(other.startswith(network) for other in names[:number] + names[number + 1 :]):
            raise UserError(
                f"{name}: {NAMES} holds {network} and a name that begins with it: give them endings, as in "
                f"{network}_a and {network}_b."
            )
    if sum(is_fusion(network) for network in names) > 1:
        raise UserError(f"{name}: {NAMES} holds two networks that join the others. Keep one of them.")
    if all(map(is_fusion, names)):
        raise UserError(f"{name}: {NAMES} holds no network that reads a column: {_KNOWN_NETWORKS}")
    return names


def is_fusion(network: str) -> bool:
    """Return whether a network only joins the vectors of other networks, and reads no column itself."""
    return not NETWORKS[family_of(network) or network]


def modalities_of(networks: Iterable[str]) -> set[Modality]:
    """Return the modalities of the columns that these networks read."""
    return {modality for network in networks for modality in NETWORKS[family_of(network) or network]}


def nearest(key: str, known: Sequence[str]) -> str:
    """Return the end of a message about an unknown key: the most similar known key, or the first few known keys."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not close and "." in key:
        last = {candidate.rsplit(".", 1)[-1]: candidate for candidate in known}
        close = [last[match] for match in difflib.get_close_matches(key.rsplit(".", 1)[-1], list(last), n=1)]
    return f"did you mean '{current_name(close[0])}'?" if close else f"known are {', '.join(known[:12])}."


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
