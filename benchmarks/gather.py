"""Speed at which the first of several hosts joins the parts that other hosts read, and shares the rows with them.

::

    python benchmarks/gather.py --rows 100000 --append benchmarks/results.jsonl

Two parts are joined into one dataset, and the dataset is put into Ray's object store on this machine. Each row has two
texts of 250 characters with vectors of 384 numbers, and an image with a vector of 1,280. The script prints a JSON line
with the bytes per second of both steps. There is no network between them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from multimodal_algo.branches.base import TrainingRows
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.dataset import Dataset, DatasetWriter, join_datasets
from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.ingest.pictures import PictureColumn

WIDTHS = {"a_text": 384, "b_text": 384, "c_image": 1280}
CHUNK = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--append", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        parts = [Path(scratch) / name for name in ("one", "two")]
        for part in parts:
            write_part(part, arguments.rows // len(parts))
        size = sum(path.stat().st_size for part in parts for path in part.iterdir())
        joined = Path(scratch) / "joined"
        joined.mkdir()
        started = time.monotonic()
        join_datasets(parts, joined, 0, None)
        join_s = time.monotonic() - started
        dataset = Dataset.read(joined)
        share_s = share(dataset)
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "benchmark": "gather",
        "rows": len(dataset),
        "bytes": size,
        "join_bytes_per_s": round(size / join_s),
        "share_bytes_per_s": round(size / share_s),
    }
    print(json.dumps(result))
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(result) + "\n")


def write_part(directory: Path, rows: int) -> None:
    directory.mkdir()
    writer = DatasetWriter(FeatureSchema(("ID", "label", *WIDTHS, "d_num")), directory)
    generator = np.random.default_rng(0)
    for start in range(0, rows, CHUNK):
        numbers = range(start, start + CHUNK)
        text = [f"{n} " + "word " * 50 for n in numbers]
        table = pd.DataFrame({"a_text": text, "b_text": text, "d_num": generator.normal(size=CHUNK)})
        vectors = {
            name: VectorColumn(generator.normal(size=(CHUNK, width)).astype(np.float16), np.arange(CHUNK))
            for name, width in WIDTHS.items()
        }
        pictures = {"c_image": PictureColumn(np.empty(0, dtype=np.uint8), np.zeros((CHUNK, 2), dtype=np.int64))}
        keys = generator.integers(2**32, size=(CHUNK, 4), dtype=np.uint32)
        names = [str(n) for n in numbers]
        writer.append(Features.of_table(table, vectors, pictures), ["a"] * CHUNK, names, keys)
    cells = {name: ["x"] for name in ("a_text", "b_text")} | {"d_num": [1.0], "c_image": [()]}
    writer.close(cells, 0)


def share(dataset: Dataset) -> float:
    """Return the seconds until the rows are in the object store."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(include_dashboard=False, log_to_driver=False)
    rows = TrainingRows(
        dataset.features, np.zeros(len(dataset), dtype=np.int64), np.zeros(len(dataset), dtype=np.int64)
    )
    started = time.monotonic()
    ray.put(rows)
    seconds = time.monotonic() - started
    ray.shutdown()
    return seconds


if __name__ == "__main__":
    main()
