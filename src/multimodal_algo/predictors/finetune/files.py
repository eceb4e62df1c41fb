"""Fine-tuned predictors and their networks as files."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any


def write_predictor(predictor: Any, directory: Path) -> None:
    """Write a fitted predictor as `read_predictor` reads it; it stays usable."""
    config = predictor._learner._config
    if "timm_image" in config.model.names:
        # It was fitted from a directory that will be gone; by name its structure is made anew.
        config.model.timm_image.checkpoint_name = architecture_of(config.model.timm_image.checkpoint_name)
    merge_lora(predictor._learner)
    with quiet():
        predictor.save(str(directory), standalone=True)


def read_predictor(directory: Path) -> Any:
    """What `write_predictor` wrote, in memory."""
    with quiet():
        return multimodal().load(str(directory), verbosity=0)


def write_networks(predictor: Any, directory: Path) -> None:
    """Write the networks of texts and images as backbones; see `FineTunedPredictor.save_networks`."""
    learner = predictor._learner
    merge_lora(learner)
    for network in _networks(learner._model):
        if network.prefix == "hf_text":
            _write_text_network(network, directory / "text")
        elif network.prefix == "timm_image":
            name = architecture_of(learner._config.model.timm_image.checkpoint_name)
            _write_image_network(network, name, directory / "image")


def _networks(model: Any) -> list[Any]:
    import torch

    return list(model.model) if isinstance(model.model, torch.nn.ModuleList) else [model]


def _write_text_network(network: Any, directory: Path) -> None:
    """The directory of a sentence-transformers model, laid out as that of all-MiniLM-L6-v2."""
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
    """The files that `ImageBackbone.load` reads, and its `BackboneInfo`."""
    from safetensors.torch import save_file

    directory.mkdir(parents=True)
    state = {key: value.detach().cpu().contiguous() for key, value in network.model.state_dict().items()}
    save_file(state, directory / "weights.safetensors")
    info = {"architecture": f"timm/{name}", "source": "fine-tuned", "pretrained": True}
    (directory / "backbone.json").write_text(json.dumps(info) + "\n", encoding="utf-8")


def multimodal() -> Any:
    """AutoGluon's class. Importing it lets Pillow pass over truncated images, which ours must not."""
    from autogluon.multimodal import MultiModalPredictor
    from PIL import ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = False
    return MultiModalPredictor


def architecture_of(checkpoint: str) -> str:
    """The name that timm has for a network: that of the directory `checkpoint`, or itself."""
    config = Path(checkpoint) / "config.json"
    return str(json.loads(config.read_text(encoding="utf-8"))["architecture"]) if config.is_file() else checkpoint


def merge_lora(learner: Any) -> None:
    """Put low-rank weights into the layers that they adapt: AutoMM cannot load them without the first checkpoint."""
    import torch
    from autogluon.multimodal.models.adaptation_layers import LoRALinear

    for parent in list(learner._model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is LoRALinear:
                plain = torch.nn.Linear(layer.in_features, layer.out_features)
                plain.weight.data = layer.weight.data + layer.lora_B.data @ layer.lora_A.data * layer.scaling
                plain.bias = layer.bias
                setattr(parent, name, plain)
    learner._config.optim.peft = None


class quiet(warnings.catch_warnings):
    """Neither warnings nor Lightning's chatter."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        multimodal()  # importing it sets levels too
        _silence()

    def __exit__(self, *exception: Any) -> None:
        # Loading a predictor sets the level of the logger "autogluon" back.
        _silence()
        super().__exit__(*exception)


def _silence() -> None:
    for name in ("lightning", "lightning.pytorch", "lightning.fabric", "autogluon", "autogluon.multimodal"):
        logging.getLogger(name).setLevel(logging.ERROR)
