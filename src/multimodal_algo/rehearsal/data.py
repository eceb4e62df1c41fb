"""The rows of a rehearsal, in each of the data formats that a request declares."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from multimodal_algo.ingest.sources import find_sources, read_rows

_IMAGE = "_image"
_LABEL = "label"


def rows_of(location: Path) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a CSV file, or of the first file in a folder."""
    header, *rows = (row.fields for row in read_rows(find_sources(location)[0]))
    return header, rows


def write_csv(header: Sequence[str], rows: Sequence[Sequence[str]], path: Path) -> Path:
    """Write a training file as CSV. Return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def write_parquet(header: Sequence[str], rows: Sequence[Sequence[str]], path: Path) -> Path:
    """Write a training file as Parquet, in which all columns are strings. Return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_parquet(header, rows))
    return path


def name_images(header: Sequence[str], rows: Sequence[Sequence[str]], folder: Path) -> list[list[str]]:
    """Write the images in base64 cells as files into `folder`. Return the rows with file names in place of base64."""
    folder.mkdir(parents=True, exist_ok=True)
    named = [list(row) for row in rows]
    for index in (index for index, column in enumerate(header) if column.endswith(_IMAGE)):
        for number, row in enumerate(named):
            # A cell with several images stays base64.
            if row[index] and ";" not in row[index]:
                name = f"{index}-{number}.jpg"
                (folder / name).write_bytes(base64.b64decode(row[index]))
                row[index] = name
    return named


BODIES: Mapping[str, Callable[[Sequence[str], Sequence[Sequence[str]]], bytes]] = {
    "text/csv": lambda columns, rows: _lines(rows),
    "application/jsonlines": lambda columns, rows: b"".join(
        json.dumps(dict(zip(columns, row, strict=True))).encode() + b"\n" for row in rows
    ),
    "application/json": lambda columns, rows: json.dumps(
        {"instances": [dict(zip(columns, row, strict=True)) for row in rows]}
    ).encode(),
    "application/x-parquet": lambda columns, rows: _parquet(columns, rows),
}
"""Functions by content type. Each makes the body of a request from the names of the columns and the rows."""

ANSWERS: Mapping[str, Callable[[bytes], int]] = {
    "text/csv": lambda body: len([row for row in csv.reader(io.StringIO(body.decode(), newline="")) if row]),
    "application/jsonlines": lambda body: len([json.loads(line) for line in body.splitlines() if line]),
    "application/json": lambda body: _json_answers(body),
}
"""Functions by response type. Each returns the number of answers in a body."""


def _json_answers(body: bytes) -> int:
    """Return the number of answers in a JSON body: ``{"predictions": […]}``, or lines with one object each.

    The server answers JSON Lines requests with lines.
    """
    lines = [json.loads(line) for line in body.splitlines() if line]
    return len(lines[0]["predictions"]) if len(lines) == 1 and "predictions" in lines[0] else len(lines)


def inference_columns(header: Sequence[str]) -> list[str]:
    """Return the columns of a request to the server, given the header of a training file."""
    return [column for column in header if column != _LABEL]


def lines_of(location: Path) -> list[list[str]]:
    """Return the rows of a file without a header, or of the first file in a folder."""
    file = location if location.is_file() else next(path for path in sorted(location.rglob("*")) if path.is_file())
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def is_number(text: str) -> bool:
    """Return whether Python can read the text as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _parquet(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({column: [row[index] for row in rows] for index, column in enumerate(columns)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()
