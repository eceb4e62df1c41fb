"""The weights that fine-tuning starts from: small random networks as the libraries write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.predictors.finetune.start import Starts

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "green", "thing"]
TEXT = "model.hf_text.checkpoint_name"
IMAGE = "model.timm_image.checkpoint_name"
CLIP = "model.clip.checkpoint_name"
TIMM = "resnet10t"

Write = Callable[[Path], Path]


@pytest.fixture
def starts(tmp_path: Path) -> Starts:
    return Starts(tmp_path / "weights", tmp_path / "scratch")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def bert(directory: Path) -> Path:
    from transformers import BertConfig, BertModel, BertTokenizer

    directory.mkdir(parents=True)
    (directory / "vocab.txt").write_text("\n".join(WORDS))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(directory)
    BertTokenizer(str(directory / "vocab.txt")).save_pretrained(directory)
    return directory


def timm_directory(directory: Path, **model_args: Any) -> Path:
    """Write a directory as timm's `push_to_hf_hub` does."""
    import timm
    from timm.models._hub import save_for_hf

    network = timm.create_model(TIMM, pretrained=False, num_classes=7)
    directory.mkdir(parents=True)
    save_for_hf(network, str(directory), safe_serialization=True, model_config={"num_classes": 7, **model_args})
    return directory


@pytest.mark.usefixtures("no_network")
def test_a_directory_of_transformers_is_taken_as_it_is(starts: Starts, tmp_path: Path) -> None:
    directory = bert(tmp_path / "mine")
    assert starts.of({TEXT: str(directory), "optim.lr": 1.0}) == {TEXT: str(directory), "optim.lr": 1.0}


@pytest.mark.parametrize("name", ["mine", "org/mine"])
@pytest.mark.usefixtures("no_network")
def test_a_name_is_looked_for_among_the_weights(starts: Starts, name: str) -> None:
    directory = bert(starts.weights_dir / "mine")
    assert starts.of({TEXT: name}) == {TEXT: str(directory)}


def test_the_pooling_is_that_of_the_directory_unless_it_is_set(starts: Starts, tmp_path: Path) -> None:
    directory = bert(tmp_path / "mine")
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert starts.of({TEXT: str(directory)})["model.hf_text.pooling_mode"] == "cls"
    settings = {TEXT: str(directory), "model.hf_text.pooling_mode": "mean"}
    assert starts.of(settings)["model.hf_text.pooling_mode"] == "mean"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("model.safetensors", "lacks a file of weights"),
        ("config.json", "lacks a config.json with a model_type"),
    ],
)
def test_a_directory_that_lacks_a_file_is_refused(starts: Starts, tmp_path: Path, missing: str, message: str) -> None:
    (bert(tmp_path / "mine") / missing).unlink()
    with pytest.raises(UserError, match=message):
        starts.of({TEXT: str(tmp_path / "mine")})


def test_a_network_of_another_kind_is_refused(starts: Starts, tmp_path: Path) -> None:
    directory = str(bert(tmp_path / "mine"))
    with pytest.raises(UserError, match=r"of the kind bert\. Set model\.hf_text\.checkpoint_name"):
        starts.of({CLIP: directory})
    with pytest.raises(UserError, match=r"is not a directory of timm, .* of the kind bert\. AutoMM fine-tunes"):
        starts.of({IMAGE: directory})
    with pytest.raises(UserError, match=r"lacks a config\.json with a model_type"):
        starts.of({TEXT: str(timm_directory(tmp_path / "timm"))})


@pytest.mark.usefixtures("no_network")
def test_a_directory_of_timm_is_read_without_its_classifier(starts: Starts, tmp_path: Path) -> None:
    import timm
    import torch
    from safetensors.torch import load_file

    source = timm_directory(tmp_path / "mine")
    directory = Path(starts.of({IMAGE: str(source)})[IMAGE])
    config = json.loads((directory / "config.json").read_text())
    assert config["architecture"] == TIMM
    expected = timm.create_model(TIMM, pretrained=False, num_classes=0)
    assert config["num_features"] == expected.num_features
    assert config["pretrained_cfg"]["input_size"] == list(expected.pretrained_cfg["input_size"])
    state = torch.load(directory / "pytorch_model.bin", weights_only=True)
    assert state.keys() == expected.state_dict().keys()
    written = load_file(source / "model.safetensors")
    assert all(torch.equal(value, written[name]) for name, value in state.items())


@pytest.mark.usefixtures("no_network")
def test_automm_loads_what_was_written(starts: Starts, tmp_path: Path) -> None:
    from autogluon.multimodal.models.timm_image import TimmAutoModelForImagePrediction

    directory = starts.of({IMAGE: str(timm_directory(tmp_path / "mine"))})[IMAGE]
    network = TimmAutoModelForImagePrediction("timm_image", directory, num_classes=3)
    assert network.num_classes == 3


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.usefixtures("no_network")
def test_a_name_of_timm_has_its_weights_from_a_file(starts: Starts, suffix: str) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    state = timm.create_model(TIMM, pretrained=False).state_dict()
    starts.weights_dir.mkdir()
    save = save_file if suffix == ".safetensors" else torch.save
    save(state, starts.weights_dir / f"{TIMM}{suffix}")
    for name in (TIMM, f"{TIMM}{suffix}"):
        directory = Path(starts.of({IMAGE: name})[IMAGE])
        assert (directory / "pytorch_model.bin").is_file()


@pytest.mark.usefixtures("no_network")
def test_a_network_that_is_installed_with_the_package_is_taken_by_its_name(starts: Starts) -> None:
    directory = Path(starts.of({IMAGE: "tf_efficientnet_lite0"})[IMAGE])
    needs = json.loads((directory / "config.json").read_text())["pretrained_cfg"]
    assert (needs["mean"], needs["input_size"]) == ([0.5, 0.5, 0.5], [3, 224, 224])


def test_weights_of_another_network_are_refused(starts: Starts) -> None:
    import timm
    import torch

    starts.weights_dir.mkdir()
    torch.save(timm.create_model("resnet14t", pretrained=False).state_dict(), starts.weights_dir / f"{TIMM}.pth")
    torch.save({"x": torch.zeros(1)}, starts.weights_dir / "resnet18.pth")
    for name in (TIMM, "resnet18"):
        with pytest.raises(UserError, match=rf"'{name}\.pth' (lacks|does not hold) .*weights of timm's {name}"):
            starts.of({IMAGE: name})


@pytest.mark.parametrize(
    ("key", "name"),
    [(TEXT, "google/electra-small-discriminator"), (CLIP, "openai/clip-vit-base-patch32"), (IMAGE, TIMM)],
)
@pytest.mark.usefixtures("no_network")
def test_a_name_that_cannot_be_downloaded_is_refused_with_what_to_do(
    starts: Starts, key: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UserError) as caught:
        starts.of({key: name})
    message = str(caught.value)
    assert f"{key}: '{name}' is not in {starts.weights_dir} and cannot be downloaded here" in message
    assert "WEIGHTS_DIR" in message
    assert "pretrained channel" in message


@pytest.mark.usefixtures("no_network")
def test_clip_has_automms_checkpoint_where_none_is_set(starts: Starts) -> None:
    with pytest.raises(UserError, match="'openai/clip-vit-base-patch32' is not in"):
        starts.of({"model.names": ["clip"]})


@pytest.mark.parametrize("name", ["/none/such", "./none", "a/b/c"])
@pytest.mark.parametrize("key", [TEXT, IMAGE, "model.ft_transformer.checkpoint_name"])
def test_a_path_to_nothing_is_refused(starts: Starts, key: str, name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}'"):
        starts.of({key: name})


def test_an_unknown_name_of_timm_is_refused_with_the_nearest(starts: Starts) -> None:
    with pytest.raises(UserError, match="timm has no network 'resnet5O': did you mean 'resnet50'"):
        starts.of({IMAGE: "resnet5O"})


@pytest.mark.usefixtures("no_network")
def test_synonyms_need_a_thesaurus(starts: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [])
    scale = {"model.hf_text.text_trivial_aug_maxscale": 0.1}
    with pytest.raises(UserError, match="thesaurus of nltk"):
        starts.of(scale)
    without = scale | {"model.hf_text.text_train_augment_types": ["random_swap"]}
    assert starts.of(without) == without


@pytest.mark.parametrize("kind", ["beit", "clip", "convnext", "deit", "dinov2", "siglip", "swin", "swinv2", "vit", "x"])
def test_a_vision_directory_of_transformers_is_refused_with_a_network_of_timm(
    starts: Starts, tmp_path: Path, kind: str
) -> None:
    import timm

    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(UserError, match=f"of the kind {kind}. AutoMM fine-tunes image networks of timm") as caught:
        starts.of({IMAGE: str(tmp_path)})
    assert timm.is_model(str(caught.value).partition("for example ")[2].partition(". Or")[0].rstrip("."))
    assert ("Or set model.clip.checkpoint_name to this directory." in str(caught.value)) == (kind == "clip")
