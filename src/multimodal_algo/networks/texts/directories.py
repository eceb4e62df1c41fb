"""Reads directories of text networks that transformers or sentence-transformers has written.

The files of a network say what it does with a text: ``modules.json`` and the folders that it names,
``sentence_bert_config.json``, ``config_sentence_transformers.json``, ``config.json`` and the tokeniser's files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multimodal_algo.core.errors import UserError, first_line
from multimodal_algo.networks.texts.network import EXPECTED, TextInfo, TextNetwork
from multimodal_algo.networks.texts.tokens import WordTokens
from multimodal_algo.networks.texts.transformer import OUTPUTS, POOLINGS, DenseStep, TextTransformer, TransformerPlan

# The networks of texts and images, by the classes of transformers for their text side, and the output that is a vector.
_TEXT_SIDES = {
    "clip": ("CLIPTextModelWithProjection", "text_embeds"),
    "clip_text_model": ("CLIPTextModelWithProjection", "text_embeds"),
}
# Positions of these networks begin after the ID of the padding.
_SHIFTED = frozenset({"camembert", "data2vec-text", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xmod"})
_MOST_TOKENS = 512
_VOCABULARIES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "spm.model",
    "tokenizer.model",
)  # fmt: skip
# The prefix of texts that are compared with each other, for networks whose name has "e5".
_E5_PREFIX = "query: "
# The poolings by the keys of older versions of sentence-transformers.
_OLDER_KEYS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
_ACTIVATIONS = ("Tanh", "Identity", "ReLU", "GELU", "Sigmoid")


@dataclass(frozen=True)
class _Steps:
    """The steps of a text network: the directory of its transformer, and the steps after it, see `TransformerPlan`."""

    transformer: Path
    pooling: tuple[str, ...] = ()
    dense: tuple[tuple[Path, DenseStep], ...] = ()
    normalised: bool = False


def read_directory(directory: Path, name: str) -> TextNetwork:
    """Read a text network that transformers or sentence-transformers has written into a directory.

    Parameters
    ----------
    directory
        Directory of the network.
    name
        Name of the network for messages. A name of e5 also decides the prefix of texts.

    Raises
    ------
    UserError
        The network cannot be read. The message says what the directory has and what is expected.
    """
    try:
        steps = _steps(directory)
        config = _load_config(steps.transformer)
        network, pooling = _load_transformer(steps, config)
        dense = [_read_dense(path) for path, _ in steps.dense]
        tokens = _load_tokens(steps.transformer, network.config, _prefix(directory, name))
    except _Unreadable as error:
        raise UserError(f"text_backbone: '{name[:60]}': {error}. Expected is {EXPECTED}.") from None
    plan = TransformerPlan(
        type(network).__name__,
        network.config.to_diff_dict() | {"model_type": network.config.model_type},
        pooling=pooling,
        dense=tuple(step for _, step in steps.dense),
        normalised=steps.normalised,
    )
    module = TextTransformer(network, plan)
    for layer, state in zip(module.dense, dense, strict=True):
        layer.load_state_dict(state)
    return TextNetwork(TextInfo(name), tokens, module.float().eval)


class _Unreadable(Exception):
    """Raised for a network that cannot be read. The message is the reason, as part of a sentence."""


def _json(path: Path) -> Any:
    """Return the content of a JSON file. A missing file counts as an empty object."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _Unreadable(f"{path.name} is not JSON ({error})") from None


def _steps(directory: Path) -> _Steps:
    """Return the steps of a text network, as ``modules.json`` in its directory lists them."""
    modules = _json(directory / "modules.json")
    if not modules:
        return _Steps(directory)
    steps = _Steps(directory / modules[0]["path"])
    for number, module in enumerate(modules):
        kind, path = module["type"].rsplit(".", 1)[-1], directory / module["path"]
        if number == 0 and kind in ("Transformer", "CLIPModel"):
            continue
        if steps.normalised:
            raise _Unreadable(f"modules.json has the step '{kind[:60]}' after Normalize, which is not supported")
        if kind == "Pooling":
            steps = replace(steps, pooling=_pooling(_json(path / "config.json")))
        elif kind == "Dense":
            steps = replace(steps, dense=(*steps.dense, (path, _dense_step(_json(path / "config.json")))))
        elif kind == "Normalize":
            steps = replace(steps, normalised=True)
        elif kind != "Dropout":
            raise _Unreadable(f"modules.json has a step '{kind[:60]}', which is not supported")
    return steps


def _pooling(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the poolings (ways to make one vector of all tokens) in ``1_Pooling/config.json``."""
    names = config.get("pooling_mode") or [name for name, key in _OLDER_KEYS.items() if config.get(key)] or "mean"
    chosen = (names,) if isinstance(names, str) else tuple(names)
    if unknown := [name for name in chosen if name not in POOLINGS]:
        raise _Unreadable(f"its pooling is '{str(unknown[0])[:60]}' and not one of {', '.join(POOLINGS)}")
    if config.get("include_prompt") is False:
        raise _Unreadable("its pooling leaves out the tokens of a prompt (include_prompt), which is not supported")
    return chosen


def _dense_step(config: Mapping[str, Any]) -> DenseStep:
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rsplit(".", 1)[-1]
    if activation not in _ACTIVATIONS:
        raise _Unreadable(f"its dense layer has the activation '{activation[:60]}', which is not supported")
    return DenseStep(config["in_features"], config["out_features"], bool(config.get("bias", True)), activation)


def _read_dense(path: Path) -> Mapping[str, Any]:
    from safetensors.torch import load_file

    if not (path / "model.safetensors").is_file():
        raise _Unreadable(f"{path.name} has no model.safetensors")
    state = load_file(path / "model.safetensors")
    return {name.removeprefix("linear."): value for name, value in state.items()}


def _load_config(directory: Path) -> Any:
    from transformers import AutoConfig

    if not (directory / "config.json").is_file():
        raise _Unreadable("there is no config.json")
    try:
        return AutoConfig.from_pretrained(directory, local_files_only=True)
    except Exception as error:  # transformers raises exceptions of many kinds
        raise _Unreadable(f"transformers does not read its config.json ({first_line(error)})") from None


def _load_transformer(steps: _Steps, config: Any) -> tuple[Any, tuple[str, ...]]:
    """Return the transformer of a text network, and how its token vectors are pooled into one vector."""
    import transformers

    pooling: tuple[str, ...] = steps.pooling or ("mean",)
    loader: Any = transformers.AutoModel
    if config.model_type in _TEXT_SIDES:
        name, output = _TEXT_SIDES[config.model_type]
        loader, pooling = getattr(transformers, name), (output,)
    elif hasattr(config, "vision_config") or not hasattr(config, "vocab_size"):
        raise _Unreadable(f"its config.json describes a network of the type '{config.model_type}', not one of texts")
    try:
        network, report = loader.from_pretrained(
            steps.transformer, local_files_only=True, output_loading_info=True, dtype="float32"
        )
    except Exception as error:  # transformers raises exceptions of many kinds
        raise _Unreadable(f"transformers does not read its weights ({first_line(error)})") from None
    missing = [key for key in sorted(report["missing_keys"]) if "pooler" not in key or pooling[0] in OUTPUTS]
    if missing:
        raise _Unreadable(f"its weights do not have {missing[0][:60]}{' and others' if missing[1:] else ''}")
    return network, pooling


def _load_tokens(directory: Path, config: Any, prefix: str) -> WordTokens:
    from transformers import AutoTokenizer

    # Without a vocabulary transformers makes a tokeniser that knows no words.
    if not any((directory / file).is_file() for file in _VOCABULARIES):
        raise _Unreadable(f"it has none of the tokeniser's files {', '.join(_VOCABULARIES)}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        backend = tokenizer.backend_tokenizer
    except Exception as error:  # transformers raises exceptions of many kinds
        raise _Unreadable(f"its tokeniser cannot be read ({first_line(error)})") from None
    if backend.get_vocab_size() > config.vocab_size:
        raise _Unreadable(
            f"its tokeniser has {backend.get_vocab_size():,} tokens, but its network {config.vocab_size:,}"
        )
    settings = _json(directory / "sentence_bert_config.json")
    if settings.get("do_lower_case"):
        _lower_case(backend)
    padding = str(tokenizer.pad_token or tokenizer.convert_ids_to_tokens(0))
    return WordTokens(
        backend,
        max_tokens=_max_tokens(settings, tokenizer, config),
        padding=padding,
        prefix=prefix,
        config=_tokenizer_config(directory, tokenizer),
    )


def _tokenizer_config(directory: Path, tokenizer: Any) -> Mapping[str, Any]:
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return {**_json(directory / "tokenizer_config.json"), **special}


def _lower_case(tokenizer: Any) -> None:
    from tokenizers import normalizers

    rest = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rest])


def _max_tokens(settings: Mapping[str, Any], tokenizer: Any, config: Any) -> int:
    """Return the largest number of tokens that a text network takes, from its settings, tokeniser and configuration."""
    limits = [tokenizer.model_max_length]
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and positions > 0:
        limits.append(positions - (config.pad_token_id + 1 if config.model_type in _SHIFTED else 0))
    declared = settings.get("max_seq_length")
    # Without a limit of its own, a network with long texts gets the length that most are trained with.
    return min([*limits, declared] if declared else [*limits, _MOST_TOKENS])


def _prefix(directory: Path, name: str) -> str:
    """Return the characters to put before each text: the prompt in the network's files, or the prefix that e5 needs."""
    settings = _json(directory / "config_sentence_transformers.json")
    prompts = settings.get("prompts") or {}
    default = settings.get("default_prompt_name")
    if default in prompts:
        return prompts[default]
    if "classification" in prompts:
        return prompts["classification"]
    names = f"{name} {_json(directory / 'config.json').get('_name_or_path', '')}".lower()
    is_e5 = any("e5" in part.split("-") for part in _last_parts(names))
    return _E5_PREFIX if is_e5 or prompts.get("query") == _E5_PREFIX else ""


def _last_parts(names: str) -> Sequence[str]:
    return [Path(name).name for name in names.split()]
