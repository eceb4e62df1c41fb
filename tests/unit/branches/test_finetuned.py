"""The inputs of branches whose networks are fine-tuned."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from multimodal_algo.branches.finetuned import FineTunedImageModel
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.decoded import DecodedImages
from multimodal_algo.ingest.features import Features
from multimodal_algo.ingest.pictures import encode_pictures


def test_a_cell_with_several_images_is_a_list_of_them() -> None:
    shades = [[10, 120, 230], [], [60]]
    cells = [DecodedImages([np.full((64, 64, 3), shade, dtype=np.uint8) for shade in row]) for row in shades]
    features = Features({}, 3, {}, {"a_image": encode_pictures(cells, 64)})
    inputs = FineTunedImageModel("img_tuned/a_image", ("a_image",), Task.of_classes(2)).inputs(features)
    several, none, one = inputs.columns["a_image"]
    assert none is None
    found = [np.asarray(Image.open(io.BytesIO(data))).mean() for data in [*several, one]]
    np.testing.assert_allclose(found, [10, 120, 230, 60], atol=3)
