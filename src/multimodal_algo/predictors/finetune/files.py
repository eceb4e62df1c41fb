"""How fine-tuned predictors and their networks are written to files and read from them."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

from multimodal_algo.config.automm_keys import family_of
from multimodal_algo.networks.stored import write_weights
from multimodal_algo.predictors.finetune._automm_compat import (
    PICKLES,
    admit_pickles,
    config_of,
    learner_of,
    merge_adaptations,
    network_of,
)

# AutoMM's file of weights. Ours takes its place, since an ONNX graph can refer to it.
_CHECKPOINT, _WEIGHTS = "model.ckpt", "weights.safetensors"


def write_predictor(predictor: Any, directory: Path) -> None:
    """Write a fitted ``MultiModalPredictor`` into `directory`, for `read_predictor`. The predictor stays usable.

    The file ``weights.safetensors`` takes the place of AutoMM's own file of weights. See `round_weights`.
    """
    learner = learner_of(predictor)
    networks = config_of(learner).model
    for name in networks.names:
        settings = networks[name]
        if family_of(name) == "timm_image":
            # The network was fitted from a directory that will be gone. timm makes its structure again by name.
            settings.checkpoint_name = architecture_of(settings.checkpoint_name)
        elif family_of(name) == "ft_transformer":
            settings.checkpoint_name = None
    merge_adaptations(learner)
    with quiet():
        predictor.save(str(directory), standalone=True)
    (directory / _CHECKPOINT).unlink()
    write_weights(network_of(learner).state_dict(), directory / _WEIGHTS)


def read_predictor(directory: Path) -> Any:
    """Read the ``MultiModalPredictor`` that `write_predictor` wrote.

    Raises
    ------
    UserError
        One of its pickles names a class that is not admitted.
    """
    if not (directory / _WEIGHTS).is_file():
        return _load(directory)
    with tempfile.TemporaryDirectory(prefix="multimodal-automm-") as scratch:
        for path in directory.iterdir():
            (Path(scratch) / path.name).symlink_to(path.absolute())
        _write_checkpoint(directory / _WEIGHTS, Path(scratch) / _CHECKPOINT)
        return _load(Path(scratch))


def _load(directory: Path) -> Any:
    try:
        with quiet():
            return multimodal().load(str(directory), verbosity=0)
    finally:
        PICKLES.raise_refusal()  # AutoMM goes on without some of its files


def _write_checkpoint(weights: Path, path: Path) -> None:
    """Write the weights of ``weights.safetensors`` as the file that AutoMM loads."""
    import torch
    from safetensors.torch import load_file

    state = {
        f"model.{name}": value.float() if value.dtype is torch.half else value
        for name, value in load_file(weights).items()
    }
    torch.save({"state_dict": state}, path)


def write_networks(predictor: Any, directory: Path) -> None:
    """Write a predictor's networks for texts and images, for other jobs. See `FineTunedPredictor.save_networks`."""
    learner = learner_of(predictor)
    merge_adaptations(learner)
    for network in networks_in(network_of(learner)):
        family = family_of(network.prefix)
        if family == "hf_text" and not (directory / "text").exists():
            _write_text_network(network, directory / "text")
        elif family == "timm_image" and not (directory / "image").exists():
            name = architecture_of(config_of(learner).model[network.prefix].checkpoint_name)
            _write_image_network(network, name, directory / "image")


def networks_in(model: Any) -> list[Any]:
    """Return the networks that AutoMM's module combines. If it is a single network, return it alone."""
    import torch

    return list(model.model) if isinstance(model.model, torch.nn.ModuleList) else [model]


def _write_text_network(network: Any, directory: Path) -> None:
    """Write a text network as a model of sentence-transformers, with the same layout as all-MiniLM-L6-v2."""
    width = network.out_features
    with quiet():
        network.model.save_pretrained(directory)
        network.tokenizer.save_pretrained(directory)
    pooling = {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": network.pooling_mode == "cls",
        "pooling_mode_mean_tokens": network.pooling_mode == "mean",
    }
    steps = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{step}"}
        for number, (path, step) in enumerate(steps.items())
    ]
    (directory / "1_Pooling").mkdir()
    for name, content in {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": network.max_text_len, "do_lower_case": False},
        "1_Pooling/config.json": pooling,
    }.items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_image_network(network: Any, name: str, directory: Path) -> None:
    """Write an image network as the files that `ImageBackbone.resolve` reads: weights and a `BackboneInfo`."""
    from safetensors.torch import save_file

    directory.mkdir(parents=True)
    state = {key: value.detach().cpu().contiguous() for key, value in network.model.state_dict().items()}
    save_file(state, directory / "weights.safetensors")
    info = {"architecture": f"timm/{name}", "source": "fine-tuned", "pretrained": True}
    (directory / "backbone.json").write_text(json.dumps(info) + "\n", encoding="utf-8")


def multimodal() -> Any:
    """Return AutoGluon's class ``MultiModalPredictor``, which then loads only admitted pickles.

    Its import makes Pillow accept truncated images. This package must refuse such images, so the setting is reset.
    """
    from autogluon.multimodal import MultiModalPredictor
    from PIL import ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = False
    admit_pickles()
    return MultiModalPredictor


def architecture_of(checkpoint: str) -> str:
    """Return the name that timm gives to a network.

    `checkpoint` is this name, or a directory with a ``config.json``.
    """
    config = Path(checkpoint) / "config.json"
    return str(json.loads(config.read_text(encoding="utf-8"))["architecture"]) if config.is_file() else checkpoint


class quiet(warnings.catch_warnings):
    """A context in which warnings and the log lines of Lightning and AutoGluon are hidden."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        multimodal()  # its import sets levels too
        _silence()

    def __exit__(self, *exception: Any) -> None:
        # Loading a predictor resets the level of the logger "autogluon".
        _silence()
        super().__exit__(*exception)


def _silence() -> None:
    for name in ("lightning", "lightning.pytorch", "lightning.fabric", "autogluon", "autogluon.multimodal"):
        logging.getLogger(name).setLevel(logging.ERROR)
