"""The weights that fine-tuning starts from, if the user names them with AutoMM's setting ``checkpoint_name``.

Each name becomes a directory at the start of the job, before any row is read. So all hosts get the same weights, and a
name that cannot be found is refused at once.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multimodal_algo.config.automm_keys import NAMES, defaults, family_of, nearest, network_of
from multimodal_algo.config.recipes import ModelSettings
from multimodal_algo.core.errors import UserError, reason_of
from multimodal_algo.networks.embedded import EMBEDDED, embedded_network
from multimodal_algo.networks.hub import snapshot
from multimodal_algo.networks.timm_networks import similar_in_timm, write_for_timm

_CHECKPOINT = ".checkpoint_name"
_CONFIG = "config.json"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_TOKENISER = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
_STATE_DICTS = (".safetensors", ".pth", ".bin")
# Lets a text be augmented by synonyms.
_THESAURUS = ("corpora/wordnet", "taggers/averaged_perceptron_tagger_eng")


@dataclass(frozen=True)
class Starts:
    """Finds the weights that the user names as the start of fine-tuning.

    Parameters
    ----------
    weights_dir
        Directory of the weights that were installed with the image.
    scratch
        Directory for downloaded and converted networks. They stay there until the job ends.
    """

    weights_dir: Path
    scratch: Path

    def of(self, settings: ModelSettings) -> dict[str, Any]:
        """Return AutoMM's settings of a branch, in which directories replace the names of pretrained weights.

        Raises
        ------
        UserError
            The weights that a name means cannot be found or downloaded, or they are of another kind of network.
        """
        changed = dict(settings)
        for network in settings.get(NAMES) or ():
            if family_of(network) == "clip":
                changed.setdefault(f"model.{network}{_CHECKPOINT}", defaults()[f"model.clip{_CHECKPOINT}"])
        for key, value in list(changed.items()):
            network = network_of(key)
            if network is not None and key.endswith(_CHECKPOINT) and isinstance(value, str):
                changed = {**changed, **self._start(key, network, value), **_without_checkpoints(settings)}
            if key.endswith(".text_trivial_aug_maxscale") and value:
                _require_thesaurus(key, settings.get(key.replace("trivial_aug_maxscale", "train_augment_types")))
        return changed

    def _start(self, key: str, network: str, name: str) -> dict[str, str]:
        family = family_of(network)
        if family == "timm_image":
            return {key: str(self._image(key, name))}
        if family == "ft_transformer":
            return {key: str(self._file(key, name))}
        directory = self._transformer(key, name, is_clip=family == "clip")
        pooling = None if family == "clip" else _pooling_of(directory)
        return {key: str(directory)} | ({f"model.{network}.pooling_mode": pooling} if pooling else {})

    def _local(self, name: str) -> Path | None:
        """Return the file or directory that `name` means: this path itself, or a file in the directory of weights."""
        paths = (Path(name), self.weights_dir / name, self.weights_dir / name.rsplit("/", 1)[-1])
        return next((path for path in paths if path.exists()), None)

    def _file(self, key: str, name: str) -> Path:
        path = self._local(name)
        if path is None or not path.is_file():
            raise UserError(f"{key}: there is no file '{_short(name)}', here or in {self.weights_dir}.")
        return path.resolve()

    def _transformer(self, key: str, name: str, *, is_clip: bool) -> Path:
        """Return the directory of a network for the library transformers, with its tokeniser."""
        path = self._local(name)
        if path is None:
            if _is_path(name):
                raise UserError(
                    f"{key}: there is no directory '{_short(name)}', here or in {self.weights_dir}. "
                    "Give the path of a directory of transformers, or a name of the Hugging Face hub."
                )
            path = self._cached(name, lambda directory: shutil.copytree(snapshot(name), directory), key)
        nested = path / "0_Transformer"  # as old versions of sentence-transformers wrote it
        path = nested if (nested / _CONFIG).is_file() else path
        _check_transformer(key, path, is_clip=is_clip)
        return path.resolve()

    def _image(self, key: str, name: str) -> Path:
        """Return the directory of a network of the library timm, in the form that AutoMM reads."""
        path = self._local(name)
        if path is None and _is_path(name):
            raise UserError(
                f"{key}: there is nothing at '{_short(name)}', here or in {self.weights_dir}. "
                "Give a directory that timm wrote, or a name of timm."
            )
        return self._cached(name, lambda directory: self._write_image(key, name, path, directory), key)

    def _write_image(self, key: str, name: str, path: Path | None, directory: Path) -> None:
        import timm

        if path is not None and path.is_dir():
            _write_timm(_of_timm_directory(key, path), directory)
            return
        architecture = name.removeprefix("hf_hub:").removeprefix("timm/") if path is None else path.stem
        if not timm.is_model(architecture):
            raise UserError(f"{key}: timm has no network '{_short(architecture)}': {_nearest_of_timm(architecture)}")
        file = path or self._state_dict(architecture)
        if file is not None:
            _write_timm(_with_weights(key, architecture, {}, file), directory)
        elif architecture in EMBEDDED:
            info, network = embedded_network(architecture)
            write_for_timm(network, info, directory)
        elif repository := (timm.get_pretrained_cfg_value(architecture, "hf_hub_id") or ""):
            # timm alone would wait for a minute where there is no network.
            _write_timm(_of_timm_directory(key, snapshot(repository)), directory)
        else:
            _write_timm(timm.create_model(architecture, pretrained=True, num_classes=0), directory)

    def _state_dict(self, architecture: str) -> Path | None:
        """Return the installed file with the weights of a timm network. Return None if there is no such file."""
        files = (self.weights_dir / f"{architecture}{suffix}" for suffix in _STATE_DICTS)
        return next((file for file in files if file.is_file()), None)

    def _cached(self, name: str, write: Callable[[Path], object], key: str) -> Path:
        """Return the directory of a network.

        `write` makes it at the first call, and later calls of the job reuse it.
        """
        directory = self.scratch / key.split(".")[1] / name.strip("/").replace("/", "--")
        if directory.is_dir():
            return directory
        try:
            write(directory)
        except UserError:
            raise
        except Exception as error:  # the libraries raise errors of any kind where the network is missing
            raise UserError(
                f"{key}: '{_short(name)}' is not in {self.weights_dir} and cannot be downloaded here "
                f"({reason_of(error)}). Put its directory there (the folder that WEIGHTS_DIR names), or into the "
                "pretrained channel, and give its path."
            ) from None
        return directory


def _without_checkpoints(settings: ModelSettings) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not key.endswith(_CHECKPOINT)}


def _is_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or name.count("/") > 1


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}..."


def _check_transformer(key: str, path: Path, *, is_clip: bool) -> None:
    """Raise an error if the directory at `path` lacks a file, or holds another kind of network than `key` needs."""
    missing = "a file of weights" if not _has_any(path, _WEIGHTS) else ""
    if not _has_any(path, _TOKENISER):
        missing = "the files of a tokeniser"
    config = _read_config(path)
    if config is None or "model_type" not in config:
        missing = f"a {_CONFIG} with a model_type"
    if missing or config is None:
        raise UserError(
            f"{key}: '{path.name}' lacks {missing}: it must be a directory that transformers or sentence-transformers "
            "saved, with its tokeniser."
        )
    kind = config["model_type"]
    if is_clip != (kind == "clip"):
        network = "model.clip" if kind == "clip" else "model.hf_text"
        raise UserError(f"{key}: '{path.name}' holds a network of the kind {kind}. Set {network}{_CHECKPOINT} to it.")


def _has_any(path: Path, names: tuple[str, ...]) -> bool:
    return any((path / name).is_file() for name in names)


def _read_config(path: Path) -> dict[str, Any] | None:
    try:
        config = json.loads((path / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def _pooling_of(path: Path) -> str | None:
    """Return the pooling that a sentence-transformers directory asks for, as AutoMM names it.

    None for other directories.
    """
    root = path.parent if path.name == "0_Transformer" else path
    try:
        pooling = json.loads((root / "1_Pooling" / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return "cls" if pooling.get("pooling_mode_cls_token") else "mean"


def _of_timm_directory(key: str, path: Path) -> Any:
    """Return the network in a directory that timm or the Hugging Face hub wrote. Its classifier is left out."""
    config = _read_config(path)
    if config is None or "architecture" not in config:
        raise UserError(
            f"{key}: '{path.name}' is not a directory of timm, whose {_CONFIG} has an architecture{_remedy(config)}"
        )
    files = [path / f"{stem}{suffix}" for stem in ("model", "pytorch_model") for suffix in _STATE_DICTS]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise UserError(f"{key}: '{path.name}' lacks its weights, model.safetensors or pytorch_model.bin.")
    return _with_weights(key, str(config["architecture"]), config, file)


def _remedy(config: Mapping[str, Any] | None) -> str:
    """Return the end of the error message about a directory that AutoMM's ``timm_image`` cannot read.

    It says what to use instead. `config` is the content of the directory's ``config.json``.
    """
    kind = str((config or {}).get("model_type", ""))[:60]
    if not kind:
        return ". Give a directory that timm wrote, or a name of timm."
    by_clip = f" Or set model.clip{_CHECKPOINT} to this directory." if kind == "clip" else ""
    return (
        f", but one of transformers, with a network of the kind {kind}. AutoMM fine-tunes image networks of timm. "
        f"Name one, for example {similar_in_timm(kind)}.{by_clip}"
    )


def _with_weights(key: str, architecture: str, config: Mapping[str, Any], file: Path) -> Any:
    """Return a timm network with the weights of a file. Its classifier is left out."""
    import timm
    import torch
    from timm.models import PretrainedCfg, load_state_dict

    fields = {field.name for field in dataclasses.fields(PretrainedCfg)}
    stored = config.get("pretrained_cfg", {})
    overlay = {name: value for name, value in stored.items() if name in fields and value is not None}
    overlay |= {"file": str(file), "custom_load": False, "hf_hub_id": None, "url": "", "source": "file", "tag": ""}
    # Any other number than that of the network lets timm leave the classifier out.
    overlay["num_classes"] = config.get("num_classes") or -1

    def made(seed: int) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return timm.create_model(architecture, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0)

    try:
        network = made(0)
        if network.state_dict().keys() <= load_state_dict(str(file)).keys():
            return network
        # timm renames weights of other origin, and leaves random what it does not find.
        other = made(1).state_dict()
    except Exception as error:  # timm raises errors of any kind for foreign files
        raise UserError(
            f"{key}: '{file.name}' does not hold weights of timm's {architecture} ({reason_of(error)})."
        ) from None
    random = [name for name, value in network.state_dict().items() if not torch.equal(value, other[name])]
    if random:
        raise UserError(
            f"{key}: '{file.name}' lacks {len(random)} of {len(other)} weights of timm's {architecture}, for example "
            f"{random[0]}."
        )
    return network


def _write_timm(network: Any, directory: Path) -> None:
    """Write a timm network in the form that AutoMM reads: without its classifier, and with its image size."""
    import torch

    config = network.pretrained_cfg
    size = [int(side) for side in config["input_size"]]
    with torch.inference_mode():
        width = int(network.eval()(torch.zeros(1, *size)).shape[-1])
    directory.mkdir(parents=True)
    torch.save(network.state_dict(), directory / "pytorch_model.bin")
    needs = {"input_size": size, "mean": list(config["mean"]), "std": list(config["std"])}
    if config.get("test_input_size"):
        needs["test_input_size"] = [int(side) for side in config["test_input_size"]]
    content = {"architecture": config["architecture"], "num_features": width, "pretrained_cfg": needs}
    (directory / _CONFIG).write_text(json.dumps(content) + "\n", encoding="utf-8")


def _nearest_of_timm(name: str) -> str:
    import timm

    return nearest(name.lower(), timm.list_models())


def _require_thesaurus(key: str, types: list[str] | None) -> None:
    """Raise an error if text augmentation needs synonyms and their thesaurus is missing.

    Otherwise AutoMM would fail in the middle of a fit.
    """
    if types and not any(each.startswith("syn_replacement") for each in types):
        return
    import nltk

    for resource in _THESAURUS:
        if not any(_has_resource(nltk, name) for name in (resource, f"{resource}.zip")):
            nltk.download(resource.rsplit("/", 1)[-1], quiet=True)
            if not any(_has_resource(nltk, name) for name in (resource, f"{resource}.zip")):
                raise UserError(
                    f"{key}: synonyms need the thesaurus of nltk ({resource}), which is not here and cannot be "
                    'downloaded. Set text_train_augment_types of the same network, for example to ["random_swap"].'
                )


def _has_resource(nltk: Any, name: str) -> bool:
    try:
        nltk.data.find(name)
    except LookupError:
        return False
    return True
