from __future__ import annotations

import base64
import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from multimodal_algo.ingest import image_bounds
from multimodal_algo.ingest.image_bounds import require_small_metadata
from multimodal_algo.ingest.images import decode_images, images_in

# Measured in a process of its own, in which every large block is returned when it is freed.
MEASURE = """
import io, sys
from pathlib import Path
import numpy as np
from PIL import Image
from multimodal_algo.ingest.image_bounds import decoding_bytes
from multimodal_algo.ingest.images import decode_images

SIDE = 2000
values = np.zeros((SIDE, SIDE), np.uint8)
values[::7] = np.random.default_rng(0).integers(0, 255, (len(values[::7]), 1))
grey = Image.fromarray(values)
clear = grey.convert("RGBA")
clear.putalpha(grey)
images = {
    "PNG RGB": (grey.convert("RGB"), "PNG", {}),
    "PNG RGBA": (clear, "PNG", {}),
    "PNG P": (grey.convert("P"), "PNG", {"transparency": 3}),
    "PNG I;16": (Image.fromarray(values.astype(np.uint16) * 200), "PNG", {}),
    "GIF P": (grey.convert("P"), "GIF", {"transparency": 3}),
    "TIFF F": (Image.fromarray(values.astype(np.float32)), "TIFF", {}),
    "TIFF RGBA": (clear, "TIFF", {"compression": "tiff_lzw"}),
    "WEBP RGBA": (clear, "WEBP", {"lossless": True, "method": 0}),
    "AVIF RGBA": (clear, "AVIF", {"speed": 10}),
    "JPEG progressive": (grey.convert("RGB"), "JPEG", {"progressive": True, "subsampling": 0}),
    "JPEG CMYK": (grey.convert("CMYK"), "JPEG", {"progressive": True}),
}

def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

for name, (image, kind, options) in images.items():
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    bound = decoding_bytes(Image.open(stream), 256)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    decode_images(stream.getvalue())
    used = memory("VmHWM") - before
    print(name, used, bound)
    assert used < bound + (8 << 20), f"{name}: {used} bytes, {bound} are allowed for"
"""


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_no_image_takes_more_memory_than_its_bound() -> None:
    environment = {"MALLOC_MMAP_THRESHOLD_": "65536", "PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", MEASURE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "RGB"])
def test_bands_change_no_pixel(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 255, (300, 200, 4)).astype(np.uint8)
    image = (
        Image.fromarray(values.view(np.uint32)[..., 0].astype(np.uint16))
        if mode == "I;16"
        else (Image.fromarray(values, "RGBA").convert("RGB" if mode == "P" else mode))
    )
    data = encoded(image.convert("P"), transparency=3) if mode == "P" else encoded(image)
    (whole,) = decode_images(data)
    monkeypatch.setattr("multimodal_algo.ingest.images._BAND_PIXELS", 700)
    (in_bands,) = decode_images(data)
    assert np.array_equal(whole, in_bands)


def test_an_image_that_needs_more_memory_than_there_is_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = image_bounds.MemoryGate(1_000_000)
    monkeypatch.setattr("multimodal_algo.ingest.images.decoding_gate", lambda: gate)
    assert decode_images(encoded(Image.new("RGB", (200, 200))))
    with pytest.raises(ValueError, match="1000 x 1000 pixels, which take up to 10 MB to decode"):
        decode_images(encoded(Image.new("RGB", (1000, 1000))))


def test_images_of_a_cell_are_bounded_in_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    image = encoded(Image.new("RGB", (2, 2)))
    text = ";".join([base64.b64encode(image).decode()] * 101)
    assert images_in(text) == 100
    with pytest.raises(ValueError, match="more than 100 images"):
        decode_images(text)
    monkeypatch.setattr(image_bounds, "_MOST_CPU_S", -1)
    with pytest.raises(ValueError, match="take more than"):
        decode_images(image)


@pytest.mark.parametrize("order", ["<", ">"])
def test_metadata_whose_entries_share_bytes_are_refused(order: str) -> None:
    begin = b"II*\0" if order == "<" else b"MM\0*"
    entries = b"".join(struct.pack(order + "HHII", 1000 + n, 7, 90_000, 8) for n in range(2000))
    tiff = begin + struct.pack(order + "IH", 8, 2000) + entries + bytes(100_000)
    with pytest.raises(ValueError, match="metadata"):
        require_small_metadata(b"anything before" + tiff)
    require_small_metadata(encoded(Image.new("RGB", (500, 500)), "TIFF"))


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    jpeg = encoded(Image.new("RGB", (3000, 3000)), "JPEG", progressive=True)
    scan = jpeg[jpeg.rfind(b"\xff\xda") : -2]
    assert decode_images(jpeg)
    with pytest.raises(ValueError, match=r"scans of 3000 x 3000 pixels"):
        decode_images(jpeg[:-2] + scan * 500 + b"\xff\xd9")
