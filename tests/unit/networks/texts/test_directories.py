"""Directories of text networks give the vectors of their own library, whatever the family."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from multimodal_algo.core.errors import UserError
from multimodal_algo.networks.text_backbone import TextBackbone
from multimodal_algo.networks.texts.find import find_text_network

TEXTS = ["a red lamp", "", "Blue lamps are much longer words than these " * 9, "x"]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
VOCABULARY = ["<s>", "<pad>", "</s>", "<unk>", "a", "red", "lamp", "lamps", "blue", "are", "much", "longer", "words"]


def bert() -> Any:
    return transformers.BertModel(transformers.BertConfig(vocab_size=40, pad_token_id=1, **SMALL))


def roberta() -> Any:
    config = transformers.RobertaConfig(vocab_size=40, pad_token_id=1, max_position_embeddings=66, **SMALL)
    return transformers.RobertaModel(config)


def electra() -> Any:
    return transformers.ElectraModel(
        transformers.ElectraConfig(vocab_size=40, embedding_size=16, pad_token_id=1, **SMALL)
    )


def deberta() -> Any:
    config = transformers.DebertaV2Config(
        vocab_size=40,
        pad_token_id=1,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=16,
        **SMALL,
    )
    return transformers.DebertaV2Model(config)


def modernbert() -> Any:
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    return transformers.ModernBertModel(transformers.ModernBertConfig(vocab_size=40, **special, **SMALL))


def clip() -> Any:
    text = {**SMALL, "vocab_size": 40, "projection_dim": 24, "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1}
    return transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**text))


FAMILIES: Mapping[str, Callable[[], Any]] = {
    "bert": bert, "roberta": roberta, "electra": electra, "deberta": deberta, "modernbert": modernbert, "clip": clip,
}  # fmt: skip


def write_tokeniser(directory: Path) -> None:
    words = {word: number for number, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "eos_token": "</s>"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, bos_token="<s>", **special
    ).save_pretrained(directory)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of small random networks, one of each family."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    for name, make in FAMILIES.items():
        network = make().eval()
        with torch.no_grad():
            for weights in network.parameters():
                if weights.ndim > 1:
                    # Vectors of different texts differ much, as those of a trained network do.
                    weights.normal_(0, 0.2)
        network.save_pretrained(folder / name)
        write_tokeniser(folder / name)
    return folder


def library_vectors(directory: Path) -> np.ndarray:
    """The vectors of transformers: the projected vector of CLIP, or the mean of the tokens, text by text."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    is_clip = directory.name == "clip"
    loader = transformers.CLIPTextModelWithProjection if is_clip else transformers.AutoModel
    network = loader.from_pretrained(directory).eval()
    vectors = []
    for text in TEXTS:
        inputs = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            outputs = network(**inputs)
        vectors.append(outputs.text_embeds[0] if is_clip else outputs.last_hidden_state[0].mean(dim=0))
    return torch.stack(vectors).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_are_those_of_transformers(directories: Path, family: str) -> None:
    vectors = TextBackbone(find_text_network(str(directories / family))).encode(TEXTS)
    np.testing.assert_allclose(vectors, library_vectors(directories / family), atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_network_gives_the_same_vectors(directories: Path, family: str, tmp_path: Path) -> None:
    backbone = TextBackbone.resolve(str(directories / family))
    backbone.save(tmp_path)
    np.testing.assert_allclose(TextBackbone.load(tmp_path).encode(TEXTS), backbone.encode(TEXTS), atol=1e-5)


POOLINGS = [
    {"pooling_mode": "cls"},
    {"pooling_mode": ["mean", "max"]},
    {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
    {"pooling_mode_mean_sqrt_len_tokens": True},
    {"pooling_mode": "weightedmean"},
    {"pooling_mode": "lasttoken"},
]


def write_steps(directory: Path, pooling: Mapping[str, Any], *, normalised: bool, **settings: Any) -> None:
    """Make a sentence-transformers directory of a transformers directory."""
    steps = {"": "Transformer", "1_Pooling": "Pooling"} | ({"2_Normalize": "Normalize"} if normalised else {})
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{step}"}
        for number, (path, step) in enumerate(steps.items())
    ]
    (directory / "1_Pooling").mkdir(exist_ok=True)
    (directory / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **pooling}))
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    (directory / "config_sentence_transformers.json").write_text(json.dumps(settings))


@pytest.mark.parametrize("number", range(len(POOLINGS)))
def test_vectors_are_those_of_sentence_transformers(number: int, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    torch.manual_seed(number)
    bert().save_pretrained(tmp_path)
    write_tokeniser(tmp_path)
    prompts = {"prompts": {"a": "blue: ", "query": "red red "}, "default_prompt_name": "a"} if number % 2 else {}
    write_steps(tmp_path, POOLINGS[number], normalised=number % 3 == 0, **prompts)
    expected = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS)
    vectors = TextBackbone(find_text_network(str(tmp_path))).encode(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=1e-4)


@pytest.mark.parametrize(("name", "settings", "prefix"), [
    ("my-e5-base", {}, "query: "),
    ("other", {"prompts": {"query": "query: ", "passage": "passage: "}}, "query: "),
    ("bge", {"prompts": {"query": "Represent this sentence: ", "document": ""}}, ""),
    ("nomic", {"prompts": {"classification": "classification: ", "query": "search: "}}, "classification: "),
    ("e50", {}, ""),
])  # fmt: skip
def test_prefixes(name: str, settings: dict[str, Any], prefix: str, tmp_path: Path) -> None:
    directory = tmp_path / name
    bert().save_pretrained(directory)
    write_tokeniser(directory)
    write_steps(directory, {}, normalised=False, **settings)
    assert find_text_network(str(directory)).tokens.settings()["prefix"] == prefix


def no_config(directory: Path) -> None:
    (directory / "config.json").unlink()
    (directory / "modules.json").write_text('[{"path": "", "type": "sentence_transformers.models.Transformer"}]')


def no_weights(directory: Path) -> None:
    (directory / "model.safetensors").unlink()


def other_step(directory: Path) -> None:
    (directory / "modules.json").write_text(
        '[{"path": "", "type": "a.Transformer"}, {"path": "1", "type": "a.WordWeights"}]'
    )


def image_network(directory: Path) -> None:
    transformers.ViTConfig().save_pretrained(directory)


def no_tokeniser(directory: Path) -> None:
    for path in directory.glob("tokenizer*"):
        path.unlink()


def broken_tokeniser(directory: Path) -> None:
    (directory / "tokenizer.json").write_text("{}")


def large_tokeniser(directory: Path) -> None:
    transformers.BertModel(transformers.BertConfig(vocab_size=12, **SMALL)).save_pretrained(directory)


@pytest.mark.parametrize(("damage", "problem"), [
    (no_config, r"no config\.json"),
    (no_weights, "does not read its weights"),
    (other_step, "'WordWeights', which is not supported"),
    (image_network, "of the type 'vit', not one of texts"),
    (no_tokeniser, r"none of the tokeniser's files tokenizer\.json"),
    (broken_tokeniser, "its tokeniser cannot be read"),
    (large_tokeniser, "tokeniser has 13 tokens, but its network 12"),
])  # fmt: skip
def test_what_cannot_be_read_is_refused(damage: Callable[[Path], None], problem: str, tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path)
    write_tokeniser(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=problem):
        find_text_network(str(tmp_path))
