"""Reading rows: peak memory by the size of the input, and throughput next to pandas with Pillow and to a network alone.

::

    python benchmarks/ingest.py memory --gb 0.2 --gb 1 --gb 5
    python benchmarks/ingest.py throughput --side 500 --kb 60
    python benchmarks/ingest.py throughput --side 2000 --kb 1000
    python benchmarks/ingest.py network --weights WEIGHTS/mobilenet_v2_torchvision.pth

Files are generated. Each row has an ID, a text, a number, a category, a label and a photo. Photos are smooth shapes
under sensor-like noise, as JPEG of about the size asked for. Each peak is measured in a process of its own. Each call
prints one JSON line, which ``--append FILE`` adds to a file.
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from multimodal_algo.core.schema import Modality
from multimodal_algo.execution.local import LocalExecutor
from multimodal_algo.ingest.findings import BadRowPolicy
from multimodal_algo.ingest.parts import ReadSettings
from multimodal_algo.ingest.reading import read_channel

PHOTOS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "throughput", "network", "peak"])
    parser.add_argument("--gb", type=float, action="append")
    parser.add_argument("--side", type=int, default=500)
    parser.add_argument("--kb", type=int, default=60)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--append", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "peak":
        print(json.dumps(peak(arguments.file)))
        return
    measure = {"memory": memory, "throughput": throughput, "network": network}[arguments.what]
    with tempfile.TemporaryDirectory() as scratch:
        result = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "benchmark": f"ingest {arguments.what}"}
        result |= measure(arguments, Path(scratch))
    line = json.dumps(result)
    print(line)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def memory(arguments: argparse.Namespace, scratch: Path) -> dict:
    peaks = {}
    for gb in arguments.gb or [0.2, 1.0]:
        path = generate(scratch / f"{gb}.csv", gb, arguments.side, arguments.kb)
        command = [sys.executable, __file__, "peak", "--file", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[f"{gb} GB"] = json.loads(done.stdout.splitlines()[-1])
        path.unlink()
    return {"peaks": peaks}


def peak(path: Path) -> dict:
    """Return the MB that reading adds to the resident memory of the imports. It needs a process of its own."""
    with tempfile.TemporaryDirectory() as warm:
        run_ingest(generate(Path(warm) / "small.csv", 0.002, 500, 60), averages)
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    rows = run_ingest(path, averages)
    seconds = time.perf_counter() - started
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - baseline
    return {
        "rows": rows,
        "baseline_mb": round(baseline / 1024),
        "added_mb": round(added / 1024),
        "s": round(seconds, 1),
    }


def throughput(arguments: argparse.Namespace, scratch: Path) -> dict:
    gb = (arguments.gb or [0.1])[0]
    path = generate(scratch / "data.csv", gb, arguments.side, arguments.kb)
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(3):
        for name, run in (("ours", lambda: run_ingest(path, averages)), ("peer", lambda: peer(path))):
            started = time.perf_counter()
            rows = run()
            seconds[name].append(time.perf_counter() - started)
    ours, theirs = (float(np.median(seconds[name])) for name in ("ours", "peer"))
    return {
        "photos": f"{arguments.side} pixels, {arguments.kb} KB",
        "rows": rows,
        "cores": os.cpu_count(),
        "ours_rows_per_s": round(rows / ours, 1),
        "pandas_and_pillow_rows_per_s": round(rows / theirs, 1),
        "ratio": round(theirs / ours, 2),
    }


def network(arguments: argparse.Namespace, scratch: Path) -> dict:
    from multimodal_algo.networks.image_backbone import ImageBackbone

    name = str(arguments.weights) if arguments.weights else "mobilenet_v2"
    backbone = ImageBackbone.resolve(name, weights_dir=Path("/opt/weights"), allow_untrained=True, seed=0)
    path = generate(scratch / "data.csv", (arguments.gb or [0.05])[0], arguments.side, arguments.kb)
    side = backbone.info.takes.side
    images = list(np.random.default_rng(0).integers(0, 256, (256, side, side, 3), dtype=np.uint8))
    whole, alone = [], []
    for _ in range(3):
        started = time.perf_counter()
        rows = run_ingest(path, backbone.encoder)
        whole.append(rows / (time.perf_counter() - started))
        started = time.perf_counter()
        backbone.encode(images)
        alone.append(len(images) / (time.perf_counter() - started))
    return {
        "network": backbone.info.architecture,
        "ingest_images_per_s": round(float(np.median(whole)), 1),
        "network_alone_images_per_s": round(float(np.median(alone)), 1),
        "ratio": round(float(np.median(whole) / np.median(alone)), 3),
    }


def run_ingest(path: Path, encode: Callable) -> int:
    with tempfile.TemporaryDirectory() as directory:
        return read_channel(
            path,
            Path(directory, "dataset"),
            lambda schema: {Modality.IMAGE: encode, Modality.TEXT: no_vectors},
            ReadSettings(BadRowPolicy()),
            executor=LocalExecutor(),
            scratch=Path(directory, "parts"),
        )


def no_vectors(texts: list[str]) -> np.ndarray:
    """Return vectors of one number, in place of a network that costs nothing."""
    return np.zeros((len(texts), 1), dtype=np.float32)


def averages(images: list[np.ndarray]) -> np.ndarray:
    """Return the colours of an 8 x 8 grid, in place of a network that costs nothing."""
    if not images:
        return np.empty((0, 192), dtype=np.float32)
    return np.stack([image[14::28, 14::28].reshape(-1) for image in images]).astype(np.float32)


def peer(path: Path) -> int:
    import pandas as pd

    frame = pd.read_csv(path)
    vectors = []
    for cell in frame["photo_image"]:
        image = (
            Image.open(io.BytesIO(base64.b64decode(cell))).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        )
        vectors.append(averages([np.asarray(image)]))
    return len(np.concatenate(vectors))


def generate(path: Path, gb: float, side: int, kb: int) -> Path:
    generator = np.random.default_rng(0)
    photos = [base64.b64encode(photo(generator, side, kb)).decode() for _ in range(PHOTOS)]
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["ID", "title_text", "price_num", "maker_cat", "photo_image", "label"])
        row = 0
        while stream.tell() < gb * 1e9:
            words = " ".join(f"word{n}" for n in generator.integers(0, 5000, 12))
            table.writerow([row, words, row % 997, f"maker{row % 50}", photos[row % PHOTOS], f"class{row % 7}"])
            row += 1
    return path


def photo(generator: np.random.Generator, side: int, kb: int) -> bytes:
    small = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    shapes = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
    noise = generator.normal(0, 12, (side, side, 1)) + generator.normal(0, 4, (side, side, 3))
    image = Image.fromarray(np.clip(shapes + noise, 0, 255).astype(np.uint8))
    best = b""
    for quality in range(30, 100, 3):
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        best = stream.getvalue()
        if len(best) >= kb * 1000:
            break
    return best


if __name__ == "__main__":
    main()
