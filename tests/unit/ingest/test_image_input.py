from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from multimodal_algo.ingest.image_input import ImageInput
from multimodal_algo.ingest.images import decode_images


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)


@settings(deadline=None, max_examples=40)
@given(
    width=st.integers(20, 150), height=st.integers(20, 150), side=st.integers(8, 60), more=st.integers(0, 20),
    interpolation=st.sampled_from(["bilinear", "bicubic", "lanczos", "box"]), keeps_shape=st.booleans(),
)  # fmt: skip
def test_an_image_is_cut_as_torchvision_and_timm_cut_it(
    width: int, height: int, side: int, more: int, interpolation: str, keeps_shape: bool
) -> None:
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    is_long = max(width, height) > 4 * min(width, height)
    # Long images are cropped first. The box filter takes whole pixels, so a pixel at an edge may be the next one then.
    assume(not (is_long and interpolation == "box"))
    resize = side + more
    size = resize if keeps_shape else (resize, resize)
    expected = Compose([Resize(size, InterpolationMode(interpolation)), CenterCrop(side)])(picture(width, height))
    found = ImageInput(side, resize, keeps_shape, interpolation).cut(picture(width, height))
    difference = np.abs(np.asarray(found, dtype=int) - np.asarray(expected, dtype=int))
    assert difference.max() <= (2 if is_long else 0)


def test_a_long_image_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, size, *a, **k: sizes.append(size) or resize(self, size, *a, **k)
    )
    assert ImageInput().cut(Image.new("RGB", (2, 60_000))).size == (224, 224)
    assert sizes == [(224, 224)]


def test_a_jpeg_is_decoded_at_the_scale_that_the_network_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    picture(1600, 1200).save(stream, "JPEG")
    decoded = []
    cut = ImageInput.cut
    monkeypatch.setattr(ImageInput, "cut", lambda self, image: decoded.append(image.size) or cut(self, image))
    for side in (100, 260, 518):
        (pixels,) = decode_images(stream.getvalue(), wanted=ImageInput(side, side))
        assert pixels.shape == (side, side, 3)
    assert decoded == [(200, 150), (400, 300), (800, 600)]


@pytest.mark.parametrize(
    "values",
    [
        {"side": 0}, {"side": 300, "resize": 256}, {"side": 9_000, "resize": 9_000}, {"interpolation": "random"},
        {"std": (0.5, 0.5, 0.0)}, {"mean": (float("nan"), 0.0, 0.0)}, {"mean": (0.5,)},
    ],
)  # fmt: skip
def test_images_that_no_network_can_take_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"images of|interpolation|mean"):
        ImageInput(**values)
