"""Every way in which a channel can arrive gives the same rows."""

from __future__ import annotations

import base64
import csv
import io
import os
import threading
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from small_job import WriteCsv

from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.cells import CellRules
from multimodal_algo.ingest.findings import BadRowPolicy, Inspection
from multimodal_algo.ingest.images import ImageFiles, decode_images
from multimodal_algo.ingest.scan import Chunk, scan
from multimodal_algo.ingest.sources import find_sources

HEADER = ["ID", "a_text", "b_num", "c_cat", "p_image", "label"]


class Rows:
    """A sink that keeps the rows, images as their mean colour."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []

    def begin(self, schema: FeatureSchema, rules: CellRules) -> CellRules:
        self.schema = schema
        return rules

    def append(self, chunk: Chunk) -> None:
        for number, label in enumerate(chunk.labels):
            cells = {column: values[number] for column, values in chunk.cells.items()}
            images = [tuple(image.mean(axis=(0, 1)).round().astype(int)) for image in cells.pop("p_image")]
            self.rows.append((chunk.ids[number], label, tuple(map(str, cells.values())), tuple(images)))


def png(colour: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(stream, "PNG")
    return stream.getvalue()


def rows(count: int = 24) -> list[list[str]]:
    image = base64.b64encode(png((200, 10, 30))).decode()
    return [
        [f"{n:02d}", f'he said "{n}",\nthen left', str(n), f"{n % 3}", image if n % 3 else "", "pq"[n % 2]]
        for n in range(count)
    ]


def read(location: Path, **options: object) -> tuple[Rows, Inspection]:
    sink = Rows()
    inspection = scan(find_sources(location), sink=sink, **options)  # type: ignore[arg-type]
    return sink, inspection


def as_text(table: Iterable[list[str]]) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(table)
    return stream.getvalue()


def through_a_fifo(path: Path, pieces: list[bytes]) -> tuple[Rows, Inspection]:
    os.mkfifo(path)

    def write() -> None:
        # The reader may refuse what comes.
        with path.open("wb", buffering=0) as stream, suppress(BrokenPipeError):
            for piece in pieces:
                stream.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return read(path)
    finally:
        writer.join()


def test_a_pipe_holds_the_files_one_after_the_other_headers_and_all(write_csv: WriteCsv, tmp_path: Path) -> None:
    expected, _ = read(write_csv("x.csv", [HEADER, *rows()]))
    data = (as_text([HEADER, *rows()[:10]]) + "\ufeff" + as_text([HEADER, *rows()[10:]])).encode()
    # A slow writer: a few bytes at a time.
    collected, inspection = through_a_fifo(tmp_path / "train_0", [data[n : n + 37] for n in range(0, len(data), 37)])
    assert inspection.errors == ()
    assert collected.rows == expected.rows


def test_a_pipe_whose_writer_dies_is_told(tmp_path: Path) -> None:
    data = as_text([HEADER, *rows()]).encode()
    _, inspection = through_a_fifo(tmp_path / "train_0", [data[: data.index(b"he said") + 700]])
    (error,) = inspection.errors
    assert "train_0, row" in error


def test_a_pipe_with_files_of_another_order_is_refused(tmp_path: Path) -> None:
    text = as_text([HEADER, *rows()]) + as_text([HEADER[::-1], *[row[::-1] for row in rows()]])
    _, inspection = through_a_fifo(tmp_path / "train_0", [text.encode()])
    assert "the order differs" in inspection.errors[0]


def test_parquet_gives_the_rows_that_csv_gives(write_csv: WriteCsv, tmp_path: Path) -> None:
    expected, _ = read(write_csv("x.csv", [HEADER, *rows()]))
    frame = pd.DataFrame(rows(), columns=HEADER)
    frame["b_num"] = frame["b_num"].astype(float)
    frame["c_cat"] = frame["c_cat"].astype(int)
    frame.to_parquet(tmp_path / "base64.parquet", row_group_size=5)
    assert read(tmp_path / "base64.parquet")[0].rows == expected.rows
    frame["p_image"] = [base64.b64decode(cell) if cell else None for cell in frame["p_image"]]
    # Known by its content too.
    frame.to_parquet(tmp_path / "part-00000")
    assert read(tmp_path / "part-00000")[0].rows == expected.rows
    _, inspection = through_a_fifo(tmp_path / "train_0", [(tmp_path / "part-00000").read_bytes()])
    assert "cannot be read in Pipe mode" in inspection.errors[0]


def test_a_file_that_is_no_parquet_and_a_column_of_lists_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    assert "x.parquet: not readable as Parquet" in read(tmp_path / "x.parquet")[1].errors[0]
    pd.DataFrame({"a_cat": [["x"], ["y"]], "label": ["a", "b"]}).to_parquet(tmp_path / "y.parquet")
    assert "y.parquet, column a_cat: the type list" in read(tmp_path / "y.parquet")[1].errors[0]


def test_cells_may_name_files_of_the_images_channel(write_csv: WriteCsv, tmp_path: Path) -> None:
    (tmp_path / "images/deep").mkdir(parents=True)
    (tmp_path / "images/deep/red one.png").write_bytes(png((255, 0, 0)))
    (tmp_path / "secret.png").write_bytes(png((0, 0, 255)))
    table = rows()
    table[0][4] = "deep/red one.png"
    path = write_csv("x.csv", [HEADER, *table])
    collected, inspection = read(path, rules=CellRules(ImageFiles(tmp_path / "images")))
    assert inspection.errors == ()
    assert collected.rows[0][3] == ((255, 0, 0),)
    assert collected.rows[1][3] == ((200, 10, 30),)
    for name in ("deep/none.png", "../secret.png", str(tmp_path / "secret.png")):
        table[0][4] = name
        _, inspection = read(write_csv("x.csv", [HEADER, *table]), rules=CellRules(ImageFiles(tmp_path / "images")))
        assert f"there is no file '{name[:60]}' in the images channel" in inspection.errors[0]


def test_bad_rows_can_be_skipped_and_are_listed(write_csv: WriteCsv) -> None:
    table = rows(100)
    table[3][2] = "12kg"
    table[7] = table[7][:-1]
    table[8][4] = "%%%"
    table[9][5] = ""
    path = write_csv("x.csv", [HEADER, *table])
    collected, inspection = read(path, bad_rows=BadRowPolicy(skip=True, max_fraction=0.04))
    assert inspection.errors == ()
    assert len(collected.rows) == inspection.rows == 96
    assert [(row.row, row.column) for row in inspection.bad_rows] == [
        (4, "b_num"),
        (8, ""),
        (9, "p_image"),
        (10, "label"),
    ]
    assert any("4 rows that cannot be read were skipped" in warning for warning in inspection.warnings)
    _, strict = read(path, bad_rows=BadRowPolicy(skip=True, max_fraction=0.039))
    assert "4 of 100 rows cannot be read, more than max_bad_row_fraction (0.039) allows" in strict.errors[0]
    _, default = read(path)
    assert len(default.errors) == 4


def test_a_bomb_is_refused_before_its_pixels_are_made() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    side = (50_000).to_bytes(4, "big")
    header = chunk(b"IHDR", side + side + b"\x08\x02\x00\x00\x00")
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="50000 x 50000 pixels"):
        decode_images(base64.b64encode(bomb).decode())
