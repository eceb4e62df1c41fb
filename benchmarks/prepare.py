"""Preparing a table and its photos, against the obvious loop: pandas, Pillow and base64 in one thread.

::

    python benchmarks/prepare.py --rows 2000 --side 500 --kb 60
    python benchmarks/prepare.py --rows 500 --side 2000 --kb 1000 --append benchmarks/results.jsonl

Photos are those of ``ingest.py``. The loop opens each file, turns it upright, makes it RGB, resizes its short side to
256, saves it as JPEG of quality 90 and writes the frame as CSV. Both run three times in turns; medians are compared,
after one run of each that is not counted. Prints one JSON line; ``--append FILE`` keeps it.
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from ingest import PHOTOS, photo
from PIL import Image, ImageOps

from multimodal_algo.tools.prepare import ImageRules, prepare_data

SIDE, QUALITY = 256, 90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--side", type=int, default=500)
    parser.add_argument("--kb", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--append", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "benchmark": "prepare"}
        result |= compare(arguments, Path(scratch))
    line = json.dumps(result)
    print(line)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def compare(arguments: argparse.Namespace, scratch: Path) -> dict:
    table, folder = generate(scratch, arguments.rows, arguments.side, arguments.kb)
    rules = ImageRules(folder, side=SIDE, quality=QUALITY)
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(arguments.runs + 1):
        started = time.perf_counter()
        prepare_data(table, scratch / "ours.csv", training=True, images=rules)
        seconds["ours"].append(time.perf_counter() - started)
        started = time.perf_counter()
        peer(table, folder, scratch / "peer.csv")
        seconds["peer"].append(time.perf_counter() - started)
    ours, theirs = (float(np.median(seconds[name][1:])) for name in ("ours", "peer"))
    return {
        "photos": f"{arguments.side} pixels, {arguments.kb} KB",
        "rows": arguments.rows,
        "cores": os.cpu_count(),
        "ours_mb": round((scratch / "ours.csv").stat().st_size / 1e6, 1),
        "peer_mb": round((scratch / "peer.csv").stat().st_size / 1e6, 1),
        "ours_rows_per_s": round(arguments.rows / ours, 1),
        "pandas_and_pillow_rows_per_s": round(arguments.rows / theirs, 1),
        "ratio": round(theirs / ours, 2),
    }


def peer(table: Path, folder: Path, output: Path) -> None:
    frame = pd.read_csv(table)
    cells = []
    for name in frame["photo_image"]:
        image = ImageOps.exif_transpose(Image.open(folder / name)).convert("RGB")
        scale = min(SIDE / min(image.size), 1)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=QUALITY)
        cells.append(base64.b64encode(stream.getvalue()).decode())
    frame["photo_image"] = cells
    frame.to_csv(output, index=False)


def generate(scratch: Path, rows: int, side: int, kb: int) -> tuple[Path, Path]:
    generator = np.random.default_rng(0)
    photos = [photo(generator, side, kb) for _ in range(min(PHOTOS, rows))]
    folder = scratch / "photos"
    folder.mkdir()
    with (scratch / "table.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["ID", "title_text", "price_num", "photo_image", "label"])
        for row in range(rows):
            (folder / f"{row}.jpg").write_bytes(photos[row % PHOTOS])
            words = " ".join(f"word{n}" for n in generator.integers(0, 5000, 12))
            table.writerow([row, words, row % 997, f"{row}.jpg", f"class{row % 7}"])
    return scratch / "table.csv", folder


if __name__ == "__main__":
    main()
