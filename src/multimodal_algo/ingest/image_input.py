"""The size and form of the images that a network takes, and how an image of any size is brought to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of the red, green and blue pixels of ImageNet."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of these pixels."""
_MAX_SIDE = 2048
# Images of a larger ratio of their sides are cropped before they are resized.
_LONGEST = 4
_INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")


@dataclass(frozen=True)
class ImageInput:
    """How an image is prepared for a network: resized, cropped to its centre, normalised.

    The defaults are those of most networks that were trained on ImageNet.

    Parameters
    ----------
    side
        Width and height of the prepared image in pixels.
    resize
        Length of the short side before the crop, in pixels. If the shape is not kept, length of both sides.
    keeps_shape
        Whether width and height are resized by the same factor.
    interpolation
        Pillow's name of a filter: nearest, box, bilinear, hamming, bicubic or lanczos.
    rounds_down
        Whether the crop begins half a pixel too far left and above if the margin is odd, as in the ``transformers``
        library. Otherwise half a pixel is rounded, as in torchvision and timm.
    mean, std
        Mean and standard deviation with which red, green and blue are normalised. Pixels lie between 0 and 1.

    Raises
    ------
    ValueError
        The values contradict each other. The message is the reason.
    """

    side: int = 224
    resize: int = 256
    keeps_shape: bool = True
    interpolation: str = "bilinear"
    rounds_down: bool = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if not 1 <= self.side <= self.resize <= 2 * _MAX_SIDE or self.side > _MAX_SIDE:
            raise ValueError(f"images of {self.side} pixels, cut from {self.resize} pixels")
        if self.interpolation not in _INTERPOLATIONS:
            raise ValueError(f"the interpolation '{self.interpolation}', not one of {', '.join(_INTERPOLATIONS)}")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, self.mean)) or not min(self.std) > 0:
            raise ValueError(f"the mean {self.mean} and the standard deviation {self.std}")

    def cut(self, image: Image.Image) -> Image.Image:
        """Return an image resized and cropped for the network. The pixels are not normalised yet."""
        width, height = image.size
        if self.keeps_shape:
            short, long = min(width, height), max(width, height)
            other = self.resize * long // short
            size = (self.resize, other) if width <= height else (other, self.resize)
        else:
            size = (self.resize, self.resize)
        left, top = (self._margin(pixels - self.side) for pixels in size)
        right, bottom = left + self.side, top + self.side
        from PIL import Image  # a server without images does without it

        interpolation = Image.Resampling[self.interpolation.upper()]
        if max(size) <= _LONGEST * min(size):
            return image.resize(size, interpolation).crop((left, top, right, bottom))
        # Without the pixels around the crop, which may be many. A few pixels of the crop are rounded differently.
        across, down = width / size[0], height / size[1]
        box = (left * across, top * down, min(right * across, width), min(bottom * down, height))
        return image.resize((self.side, self.side), interpolation, box=box)

    def _margin(self, pixels: int) -> int:
        return pixels // 2 if self.rounds_down else round(pixels / 2)


IMAGENET = ImageInput()
