"""A text network: its tokeniser, its module and its description, and the directory that it is saved in.

::

    network.json           description, settings of the tokeniser, structure of the module
    weights.safetensors    weights, in the bits that the network has them in
    tokenizer.json, tokenizer_config.json   or   sentencepiece.model
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multimodal_algo.networks.texts.tokens import Tokens, WordTokens, load_tokens

if TYPE_CHECKING:
    import torch

EXPECTED = (
    "a directory of a text network that transformers or sentence-transformers wrote (config.json, weights as "
    "safetensors, the tokeniser's files)"
)
DESCRIPTION = "network.json"
WEIGHTS = "weights.safetensors"
_UNIVERSAL, _TRANSFORMER = "universal-sentence-encoder", "transformer"


@dataclass(frozen=True)
class TextInfo:
    """The description of a text network.

    Parameters
    ----------
    name
        Name of the network, or path of the directory that it was read from.
    languages
        Codes of ISO 639-1 of the languages that it was trained on. Empty if they are not known.
    """

    name: str
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextNetwork:
    """A text network.

    Parameters
    ----------
    info
        Its description.
    tokens
        Its tokeniser, which makes the arguments of the module.
    module
        The module, in evaluation mode. It turns the arrays of `tokens` into vectors (texts, width).
    """

    info: TextInfo
    tokens: Tokens
    module: torch.nn.Module

    def save(self, directory: Path) -> None:
        """Write the network into `directory`, made when missing, for `load`."""
        from safetensors.torch import save_file

        directory.mkdir(parents=True, exist_ok=True)
        self.tokens.save(directory)
        state = {name: value.contiguous().cpu() for name, value in self.module.state_dict().items()}
        save_file(state, directory / WEIGHTS)
        description = {
            "name": self.info.name,
            "languages": self.info.languages,
            "tokens": {"kind": self.tokens.kind, "settings": self.tokens.settings()},
            "module": _structure(self.module),
        }
        text = json.dumps(description, indent=2, ensure_ascii=False)
        (directory / DESCRIPTION).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> TextNetwork:
        """Read what `save` wrote."""
        from safetensors.torch import load_file

        description = json.loads((directory / DESCRIPTION).read_text(encoding="utf-8"))
        info = TextInfo(description["name"], tuple(description["languages"]))
        module = _build(description["module"])
        module.load_state_dict(load_file(directory / WEIGHTS))
        return cls(info, load_tokens(directory, **description["tokens"]), module.eval())

    def save_for_transformers(self, directory: Path) -> bool:
        """Write the network as transformers reads it, for fine-tuning.

        Return whether transformers has networks of this kind.
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


def _build(structure: Mapping[str, Any]) -> torch.nn.Module:
    settings = {name: value for name, value in structure.items() if name != "kind"}
    if structure["kind"] == _UNIVERSAL:
        from multimodal_algo.networks.texts.universal_encoder import UniversalEncoder

        return UniversalEncoder(**settings)
    from multimodal_algo.networks.texts.transformer import TransformerPlan

    return TransformerPlan.of(settings).build()
