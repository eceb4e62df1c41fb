"""A row's answer does not depend on how its file is cut, packed and sent."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from multimodal_algo.local import BatchStrategy, SplitType, TransformSettings, transform

# About 4 MB.
LINES = 75
JOBS = {
    "defaults": TransformSettings(),
    "1 MB, 16 at a time": TransformSettings(max_payload_mb=1, max_concurrent_transforms=16),
    "one record a request": TransformSettings(strategy=BatchStrategy.SINGLE_RECORD, max_concurrent_transforms=8),
    "one request": TransformSettings(split_type=SplitType.NONE),
    "onnx": TransformSettings(env={"INFERENCE_ENGINE": "onnx"}),
    "torch": TransformSettings(env={"INFERENCE_ENGINE": "torch"}),
}
# Job that a job is compared with, and the largest difference of a probability. Others are compared with the defaults.
# The engine of the defaults may compute texts in bfloat16. That of "onnx" and of "torch" is float32.
ENGINES = {"onnx": ("defaults", 1e-2), "torch": ("onnx", 1e-3)}


def uncompressed(cell: str) -> str:
    """The same picture in ten times as many bytes, so that few lines are several payloads."""
    if not cell:
        return cell
    stream = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(cell))).save(stream, "PNG", compress_level=0)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def test_every_way_to_cut_and_send_a_file_gives_the_same_answers(archive: Path, sample: Path, tmp_path: Path) -> None:
    with (sample / "test_noheader.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    for number in range(LINES):
        row = list(rows[number % len(rows)])
        # Sizes differ, some cells are empty, and every row is its own.
        writer.writerow([str(number), f"{row[1]} {number}", row[2] * (number % 5), *row[3:-1], uncompressed(row[-1])])
    assert len(lines.getvalue()) > 3 << 20
    path = tmp_path / "lines.csv"
    path.write_text(lines.getvalue(), encoding="utf-8", newline="")
    found: dict[str, list[list[str]]] = {}
    for name, job in JOBS.items():
        (out,) = transform(archive, path, job, output=tmp_path / name)
        answers = list(csv.reader(io.StringIO(out.read_text(encoding="utf-8"), newline="")))
        assert [row[0] for row in answers] == [str(number) for number in range(LINES)], name
        found[name] = answers
        other, bound = ENGINES.get(name, ("defaults", 1e-4))
        for answer, expected in zip(answers, found[other], strict=True):
            assert float(answer[2]) == pytest.approx(float(expected[2]), abs=bound), name
