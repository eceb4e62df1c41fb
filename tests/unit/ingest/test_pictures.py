from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from multimodal_algo.ingest.decoded import DecodedImages
from multimodal_algo.ingest.pictures import encode_pictures


@pytest.mark.parametrize("side", [112, 224])
def test_pictures_are_the_first_images_of_their_rows(side: int) -> None:
    images = [np.full((224, 224, 3), shade, dtype=np.uint8) for shade in (10, 120, 230)]
    pictures = encode_pictures([DecodedImages(cell) for cell in (images[:1], [], images[1:])], side)
    assert pictures.jpeg(1) is None
    taken = pictures.take(np.array([2, 0]))
    for row, shade in ((0, 120), (1, 10)):
        jpeg = taken.jpeg(row)
        assert jpeg is not None
        picture = Image.open(io.BytesIO(jpeg))
        assert picture.size == (side, side)
        assert abs(float(np.asarray(picture).mean()) - shade) < 3


@pytest.mark.parametrize("kind", ["noise", "plain"])
def test_all_pictures_of_a_row_are_kept_apart(kind: str) -> None:
    generator = np.random.default_rng(0)
    cells = [[generator.integers(0, 256, (96, 96, 3), dtype=np.uint8) for _ in range(n)] for n in (3, 0, 1, 20)]
    if kind == "plain":
        cells = [[np.full_like(image, image[0, 0]) for image in cell] for cell in cells]
    pictures = encode_pictures([DecodedImages(cell) for cell in cells], 96)
    for row, cell in enumerate(cells):
        jpegs = pictures.jpegs(row)
        assert jpegs == [encode_pictures([DecodedImages([image])], 96).jpeg(0) for image in cell]
        assert pictures.jpeg(row) == (jpegs[0] if cell else None)


def test_without_a_side_nothing_is_kept() -> None:
    pictures = encode_pictures([DecodedImages([np.zeros((224, 224, 3), dtype=np.uint8)])], 0)
    assert pictures.jpeg(0) is None
    assert len(pictures.data) == 0
