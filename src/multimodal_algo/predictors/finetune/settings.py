"""The settings that AutoMM gets for one fit: our defaults, overridden by the user's dotted hyperparameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from multimodal_algo.config.automm_keys import NAMES, NETWORKS, family_of, is_fusion, network_of
from multimodal_algo.config.automm_networks import default_networks, joining_network
from multimodal_algo.config.recipes import ModelSettings
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality

_DEFAULTS: ModelSettings = {
    "env.num_workers": 0,
    "env.num_workers_inference": 0,
    "env.per_gpu_batch_size": 32,
    "env.batch_size": 32,
    # Each further checkpoint costs a validation after the fit.
    "optim.top_k": 1,
    "optim.top_k_average_method": "best",
    "optim.max_epochs": 10,
    "optim.patience": 6,
    "optim.val_check_interval": 0.5,
    "data.categorical.minimum_cat_count": 2,
}
_NETWORK_DEFAULTS: Mapping[str, ModelSettings] = {
    "hf_text": {
        "pooling_mode": "mean",
        "max_text_len": 256,
        "text_trivial_aug_maxscale": 0.0,  # any other value makes it download a thesaurus
    },
    "timm_image": {"max_image_num_per_column": 1},
}
_STARTS_FROM_WEIGHTS = ("hf_text", "timm_image", "clip")
# AutoMM's names of modalities, which the key data_types takes.
_DATA_TYPES = {
    Modality.TEXT: "text",
    Modality.IMAGE: "image",
    Modality.NUM: "numerical",
    Modality.CAT: "categorical",
}
_TO_TEXT = {Modality.CAT: "data.categorical.convert_to_text", Modality.NUM: "data.numerical.convert_to_text"}
_CHECKPOINT = "checkpoint_name"


def automm_settings(
    columns: Collection[Modality],
    model_settings: ModelSettings,
    *,
    rows: int,
    ranks: int | None = None,
    has_teacher: bool = False,
) -> dict[str, Any]:
    """Return the hyperparameters that AutoMM's ``fit`` gets.

    Parameters
    ----------
    columns
        Modalities of the branch's columns.
    model_settings
        The user's dotted hyperparameters, and the weights to start from.
    rows
        Number of rows to learn from.
    ranks
        Number of processes that fit one network together. None for one process alone.
    has_teacher
        Whether the fit also learns from a teacher's predictions.

    Raises
    ------
    UserError
        The settings do not suit the columns or this host.
    """
    networks = _networks(columns, model_settings)
    uses_gpu = _uses_gpu(model_settings, ranks)
    wanted: dict[str, Any] = {**_DEFAULTS, "env.precision": _precision(has_gpu=uses_gpu)}
    for network in networks:
        wanted |= _network_settings(network, columns, model_settings)
    wanted |= model_settings
    # With "auto", AutoMM would take the GPU that num_gpus=0 forbids.
    wanted |= {NAMES: networks, "env.num_gpus": int(uses_gpu), "env.accelerator": "gpu" if uses_gpu else "cpu"}
    # AutoMM would wait for the other hosts.
    wanted |= {"env.num_nodes": 1} if ranks is None else _rank_settings(wanted, ranks)
    if has_teacher:
        # AutoMM's checkpoints of a network that is both taught and adapted lack its last layer.
        wanted["optim.peft"] = None
    wanted["optim.val_check_interval"] = _interval(wanted, rows)
    # AutoMM refuses settings of networks that it does not fit.
    return {key: value for key, value in wanted.items() if _is_known(key, networks, has_teacher=has_teacher)}


def _is_known(key: str, networks: list[str], *, has_teacher: bool) -> bool:
    if key.startswith("distiller."):
        return has_teacher
    return network_of(key) in (None, *networks)


def _networks(columns: Collection[Modality], settings: ModelSettings) -> list[str]:
    """Return the networks to fit: those that the user names and that read one of the columns, or the default ones."""
    modalities = [modality for modality in Modality if modality in _as_read(columns, settings)]
    names = settings.get(NAMES)
    if names is None:
        names = [*default_networks(modalities, settings), joining_network(settings)]
    networks = [name for name in names if {*NETWORKS[family_of(name) or name]} & {*modalities}]
    if not networks:
        raise UserError(
            f"{NAMES} is {', '.join(names)[:60]}, and none of them reads columns of the kind "
            f"{' or '.join(modalities)}. Name another network, or leave {NAMES} out."
        )
    fusions = [name for name in names if is_fusion(name)] or [joining_network(settings)]
    return networks + (fusions if len(networks) > 1 else [])


def _as_read(columns: Collection[Modality], settings: ModelSettings) -> set[Modality]:
    """Return the modalities that the networks read.

    With some settings, AutoMM writes numbers and categories as texts.
    """
    converted = {modality for modality, key in _TO_TEXT.items() if modality in columns and settings.get(key)}
    return ({*columns} - converted) | ({Modality.TEXT} if converted else set())


def _network_settings(network: str, columns: Collection[Modality], settings: ModelSettings) -> dict[str, Any]:
    family = family_of(network) or network
    wanted = {f"model.{network}.{key}": value for key, value in _NETWORK_DEFAULTS.get(family, {}).items()}
    if family in _STARTS_FROM_WEIGHTS:
        start = settings.get(f"model.{network}.{_CHECKPOINT}", settings.get(f"model.{family}.{_CHECKPOINT}"))
        if start is None:
            raise UserError(
                f"There are no weights from which {network} can be fine-tuned. Set model.{network}.{_CHECKPOINT} to a "
                "directory, for example in the pretrained channel."
            )
        wanted[f"model.{network}.{_CHECKPOINT}"] = start
    if family == "clip":
        # Without both kinds of columns, AutoMM would leave it out.
        read = _as_read(columns, settings)
        wanted[f"model.{network}.data_types"] = [_DATA_TYPES[each] for each in NETWORKS[family] if each in read]
    return wanted


def _uses_gpu(settings: ModelSettings, ranks: int | None) -> bool:
    """Return whether the fit uses a GPU. Several processes together always use the GPUs of their hosts."""
    import torch

    has_gpu = torch.cuda.is_available()
    accelerator = settings.get("env.accelerator", "auto")
    if accelerator == "gpu" and not has_gpu:
        raise UserError("env.accelerator is gpu, and this host has no GPU. Set it to auto.")
    is_refused = accelerator == "cpu" or settings.get("env.num_gpus", 1) == 0
    return has_gpu and (ranks is not None or not is_refused)


def _precision(*, has_gpu: bool) -> str:
    """Return the name that Lightning gives to the 16-bit format of the GPU.

    Older GPUs emulate bfloat16, which is slow.
    """
    import torch

    if not has_gpu:
        return "32"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def _rank_settings(wanted: Mapping[str, Any], ranks: int) -> dict[str, Any]:
    """Return settings with which `ranks` processes together take the steps that `wanted` means for one process.

    For AutoMM, each process is a host that has one GPU or none.
    """
    most = wanted["env.per_gpu_batch_size"]
    batch = most * max(1, wanted["env.batch_size"] // most)
    share = max(1, batch // ranks)
    return {"env.num_nodes": ranks, "env.batch_size": batch, "env.per_gpu_batch_size": share // -(-share // most)}


def _interval(wanted: Mapping[str, Any], rows: int) -> float:
    """Return how often the network is validated. It is never rarer than once an epoch, which Lightning would refuse."""
    interval = wanted["optim.val_check_interval"]
    if isinstance(interval, float) or interval == 1:
        return float(interval)
    per_step = wanted["env.per_gpu_batch_size"] * wanted.get("env.num_nodes", 1)
    return min(int(interval), max(1, rows // per_step))
