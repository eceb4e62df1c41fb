"""Milliseconds that frozen networks take for an image and for a text, by engine and by batch.

    python benchmarks/networks.py ARTIFACT_DIR

``plain`` is the network as torchvision and sentence-transformers give it, run by torch. Each case uses all cores.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from multimodal_algo.artifact import IMAGE_BACKBONE, TEXT_BACKBONE, read_config
from multimodal_algo.config.inference import Engine
from multimodal_algo.core.log import configure_logging
from multimodal_algo.networks.image_backbone import ImageBackbone
from multimodal_algo.networks.image_info import BackboneInfo
from multimodal_algo.networks.stored import GRAPH
from multimodal_algo.networks.text_backbone import TextBackbone
from multimodal_algo.networks.texts.find import find_text_networks

IMAGES, TEXTS = 64, 256


def main() -> None:
    configure_logging()
    directory = Path(sys.argv[1])
    entry = read_config(directory).image_backbone
    times = {}
    random = np.random.default_rng(0)
    if entry is not None:
        network = ImageBackbone.load(directory / IMAGE_BACKBONE, BackboneInfo(**dict(entry)))
        side = network.info.takes.side
        images = list(random.integers(0, 256, (IMAGES, side, side, 3), dtype=np.uint8))
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().contiguous()
        for batch in (4, 32):
            times[f"image, plain by {batch}"] = ms(
                lambda b=batch: [plain(network, part) for part in pixels.split(b)], IMAGES
            )
        times["image, torch"] = ms(lambda: network.encode(images), IMAGES)
        network.use_graph(directory / IMAGE_BACKBONE / GRAPH, Engine.ONNX, has_gpu=False)
        times["image, onnx"] = ms(lambda: network.encode(images), IMAGES)
    texts = [" ".join(f"word{number}" for number in range(n % 40)) + str(n) for n in range(TEXTS)]
    for folder in find_text_networks(str(directory / TEXT_BACKBONE)):
        sentences = TextBackbone.load(Path(folder))
        name = f"text, {sentences.info.name}"
        times[f"{name}, torch"] = ms(lambda each=sentences: each.encode(texts), TEXTS)
        sentences.use_graph(Path(folder) / GRAPH, Engine.ONNX, has_gpu=False)
        times[f"{name}, onnx"] = ms(lambda each=sentences: each.encode(texts), TEXTS)
    print(json.dumps({"benchmark": "networks", "ms_each": {name: round(value, 2) for name, value in times.items()}}))


def plain(network: ImageBackbone, pixels: torch.Tensor) -> None:
    with torch.inference_mode():
        network.network(pixels)


def ms(call: Callable[[], object], cells: int) -> float:
    """Return the median time of five calls, in milliseconds per cell."""
    call()
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return 1000 * float(np.median(taken)) / cells


if __name__ == "__main__":
    main()
