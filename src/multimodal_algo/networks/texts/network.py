"""A text network: its tokeniser, its torch module and its description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal_algo.networks.stored import NetworkDescription, write_weights
from multimodal_algo.networks.texts.tokens import Tokens, WordTokens, load_tokens

if TYPE_CHECKING:
    import torch

EXPECTED = (
    "a directory of a text network that transformers or sentence-transformers wrote (config.json, weights as "
    "safetensors, the tokeniser's files)"
)
_WEIGHTS = "weights.safetensors"
_UNIVERSAL, _TRANSFORMER = "universal-sentence-encoder", "transformer"


@dataclass(frozen=True)
class TextInfo:
    """The name of a text network and its languages.

    Parameters
    ----------
    name
        Name of the network, or path of the directory that it was read from.
    languages
        Languages that the network was trained on, as codes of ISO 639-1. Empty if they are not known.
    """

    name: str
    languages: tuple[str, ...] = ()


class TextNetwork:
    """A text network with its tokeniser. Its module is read only when it is needed.

    Parameters
    ----------
    info
        Name and languages of the network.
    tokens
        Tokeniser, which makes the arguments of the module.
    read_module
        Function that returns the module, on the CPU and in evaluation mode.
    """

    def __init__(self, info: TextInfo, tokens: Tokens, read_module: Callable[[], torch.nn.Module]) -> None:
        self.info = info
        self.tokens = tokens
        self._read_module = read_module

    @cached_property
    def module(self) -> torch.nn.Module:
        """The torch module. It turns the arrays of `tokens` into vectors, float32 (texts, width)."""
        return self._read_module()

    @property
    def max_tokens(self) -> int:
        """Largest number of tokens of a text. Longer texts are cut."""
        return int(self.tokens.settings()["max_tokens"])

    @property
    def has_attention(self) -> bool:
        """Whether the module takes an attention mask (which tokens are not padding) as a second argument."""
        return isinstance(self.tokens, WordTokens)

    def settings(self) -> dict[str, Any]:
        """Return the settings from which `load` builds the network again."""
        return {
            "name": self.info.name,
            "languages": list(self.info.languages),
            "tokens": {"kind": self.tokens.kind, "settings": self.tokens.settings()},
            "module": _structure(self.module),
        }

    def write(self, directory: Path) -> None:
        """Write the weights and the tokeniser into an existing `directory`."""
        self.tokens.save(directory)
        write_weights(self.module.state_dict(), directory / _WEIGHTS)

    @classmethod
    def load(cls, directory: Path, stored: NetworkDescription) -> TextNetwork:
        """Read the network that `write` has written into `directory`. `stored` is the directory's description."""
        settings = stored.settings
        info = TextInfo(settings["name"], tuple(settings["languages"]))
        tokens = load_tokens(directory, **settings["tokens"])
        return cls(info, tokens, lambda: _load_module(directory / _WEIGHTS, settings["module"]))

    def save_for_transformers(self, directory: Path) -> bool:
        """Write the network in the form that transformers reads, so that it can be fine-tuned.

        Return False, and write nothing, if transformers has no network of this kind.
        """
        from multimodal_algo.networks.texts.quantised import expand_structure
        from multimodal_algo.networks.texts.transformer import TextTransformer

        if not isinstance(self.module, TextTransformer) or not isinstance(self.tokens, WordTokens):
            return False
        module = self.module.plan.build()
        module.load_state_dict(self.module.state_dict())
        directory.mkdir(parents=True, exist_ok=True)
        expand_structure(module).network.save_pretrained(directory)
        self.tokens.save(directory)
        return True


def _structure(module: torch.nn.Module) -> dict[str, Any]:
    from multimodal_algo.networks.texts.transformer import TextTransformer
    from multimodal_algo.networks.texts.universal_encoder import UniversalEncoder

    if isinstance(module, UniversalEncoder):
        return {"kind": _UNIVERSAL, "vocabulary": len(module.table), "eps": module.norm.eps}
    assert isinstance(module, TextTransformer)
    return {"kind": _TRANSFORMER, **module.plan.as_dict()}


def _load_module(path: Path, structure: Mapping[str, Any]) -> torch.nn.Module:
    from safetensors.torch import load_file

    settings = {name: value for name, value in structure.items() if name != "kind"}
    module: torch.nn.Module
    if structure["kind"] == _UNIVERSAL:
        from multimodal_algo.networks.texts.universal_encoder import UniversalEncoder

        module = UniversalEncoder(**settings)
    else:
        from multimodal_algo.networks.texts.transformer import TransformerPlan

        module = TransformerPlan.of(settings).build()
    module.load_state_dict(load_file(path))
    return module.eval()
