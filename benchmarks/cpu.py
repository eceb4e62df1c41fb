"""CPU seconds of reading rows and of decoding requests, next to those of another commit.

    git worktree add ../before COMMIT
    python benchmarks/cpu.py ../before/src

Generated rows have an ID, two texts, three numbers, two categories and a label, one file in six with quotes, and the
same with a photo of 60 KB. *read* is ingest with networks that cost nothing. *decode* is the body of a request of 6 MB
to parsed cells. Seven pairs alternate, each measurement in a process of its own. It prints one JSON line: the median of
the ratios, this tree to the other one.
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAIRS = 7
HEADER = ["ID", "title_text", "note_text", "price_num", "weight_num", "age_num", "colour_cat", "size_cat", "label"]
WORDS = ["lamp", "chair", "desk", "café", "shelf", "oak", "pine", "walnut", "small", "large", "bright", "red", "blue"]
CASES = ("read rows", "read photos", "decode rows", "decode photos")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the src folder of the other commit")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(measure(arguments.case, arguments.folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        trees = {"this": Path(__file__).parents[1] / "src", "other": arguments.other.resolve()}
        ratios: dict[str, list[float]] = {case: [] for case in CASES}
        for pair in range(PAIRS):
            for case in CASES:
                order = list(trees) if pair % 2 else list(trees)[::-1]
                seconds = {name: in_a_process(trees[name], case, folder) for name in order}
                ratios[case].append(seconds["this"] / seconds["other"])
    print(json.dumps({case: round(statistics.median(values), 3) for case, values in ratios.items()} | {"all": ratios}))


def in_a_process(tree: Path, case: str, folder: str) -> float:
    command = [sys.executable, __file__, str(tree), "--case", case, "--folder", folder]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(tree)}, check=True, capture_output=True, text=True
    )
    return float(done.stdout.splitlines()[-1])


def generate(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    stream = io.BytesIO()
    noise = generator.integers(0, 255, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "JPEG", quality=80)
    photo = base64.b64encode(stream.getvalue()).decode()
    for name, rows, photos in (("rows", 60_000, False), ("photos", 1500, True)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*HEADER, "photo_image"] if photos else HEADER)
            for row in range(rows):
                title, note = (" ".join(generator.choice(WORDS, 12)) for _ in range(2))
                numbers = [f"{value:.3f}" for value in generator.normal(size=3)]
                cells = [row, title, f'{note}, "new"' if row % 6 == 0 else note, *numbers, WORDS[row % 13], row % 7]
                writer.writerow([*cells, "ab"[row % 2], *([photo] if photos else [])])


def measure(case: str, folder: Path) -> float:
    """Return the CPU seconds of a case in this process."""
    what, _, name = case.partition(" ")
    path = folder / f"{name}.csv"
    return read(path, folder) if what == "read" else decode_body(path)


def read(path: Path, folder: Path) -> float:
    import numpy as np

    from multimodal_algo.core.schema import Modality
    from multimodal_algo.execution.local import LocalExecutor
    from multimodal_algo.ingest.findings import BadRowPolicy
    from multimodal_algo.ingest.parts import ReadSettings
    from multimodal_algo.ingest.reading import read_channel

    def no_network(cells: object) -> np.ndarray:
        return np.zeros((len(cells), 4), dtype=np.float32)  # type: ignore[arg-type]

    encoders = {Modality.TEXT: no_network, Modality.IMAGE: no_network}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        started = time.process_time()
        read_channel(
            path,
            Path(scratch) / "data",
            lambda schema: encoders,
            ReadSettings(BadRowPolicy()),
            executor=LocalExecutor(),
            scratch=Path(scratch) / "parts",
        )
        return time.process_time() - started


def decode_body(path: Path) -> float:
    from multimodal_algo.core.schema import FeatureSchema
    from multimodal_algo.ingest.rows import RowParser
    from multimodal_algo.serving.decoding import Kind, decode

    with path.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    label = header.index("label")
    body = io.StringIO()
    csv.writer(body, lineterminator="\n").writerows([cell for n, cell in enumerate(row) if n != label] for row in rows)
    data, schema = body.getvalue().encode()[: 6 << 20], FeatureSchema(tuple(header))
    data = data[: data.rindex(b"\n") + 1]
    parser = RowParser(schema.inference_columns)
    started = time.process_time()
    for _ in range(4):
        for record in decode(data, Kind.CSV, schema).records:
            parser.start(record.cells).finish()
    return time.process_time() - started


if __name__ == "__main__":
    main()
