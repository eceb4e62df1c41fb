"""Tables to inference lines that batch transform may cut at every newline."""

from __future__ import annotations

import base64
import csv
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from multimodal_algo.artifact import CONFIG, ModelConfig
from multimodal_algo.errors import UserError
from multimodal_algo.inference import on_one_line
from multimodal_algo.ingest.sources import find_sources, read_rows
from multimodal_algo.schema import ID, LABEL, FeatureSchema, modality_of


def prepare_lines(data: Path, output: Path, *, model: Path | None = None) -> int:
    """Write the rows of `data` as inference lines.

    Parameters
    ----------
    data
        A CSV or Parquet file with header, or a folder of them; a label is left out.
    output
        ``.csv``: lines without header, newlines in cells replaced by spaces. ``.jsonl``: an object a line, cells as
        they are.
    model
        A ``model.tar.gz``: its columns in its order are written, and must be there.

    Returns
    -------
    int
        How many lines were written.

    Raises
    ------
    UserError
        Data that cannot be read, columns that are no features, or not those of the model.
    """
    if output.suffix not in (".csv", ".jsonl"):
        raise UserError(f"{output}: name the file .csv (for text/csv) or .jsonl (for application/jsonlines).")
    schema = None if model is None else _schema_of(model)
    partial = output.with_name(output.name + ".partial")
    output.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            write = _csv_writer(stream) if output.suffix == ".csv" else _json_writer(stream)
            for columns, cells in _rows(data, schema):
                write(columns, cells)
                written += 1
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    return written


def _rows(data: Path, schema: FeatureSchema | None) -> Iterator[tuple[Sequence[str], list[str]]]:
    wanted: tuple[str, ...] = () if schema is None else schema.inference_columns
    for source in find_sources(data):
        rows = read_rows(source)
        header = [str(name) for name in next(rows).fields]
        wanted = wanted or tuple(name for name in header if name != LABEL)
        if wrong := [name for name in wanted if name != ID and modality_of(name) is None]:
            raise UserError(f"{source.name}: the column '{wrong[0][:60]}' has no known suffix. Rename or drop it.")
        if missing := [name for name in wanted if name not in header]:
            raise UserError(f"{source.name}: there is no column '{missing[0]}'. Found: {', '.join(header)[:200]}.")
        places = [header.index(name) for name in wanted]
        for row in rows:
            if len(row.fields) != len(header):
                raise UserError(
                    f"{source.name}, row {row.number} (line {row.line}): {len(row.fields)} fields instead of "
                    f"{len(header)}. Quote cells that hold commas."
                )
            yield wanted, [_text(row.fields[place]) for place in places]


def _text(cell: Any) -> str:
    return base64.b64encode(cell).decode("ascii") if isinstance(cell, bytes) else cell


def _csv_writer(stream: IO[str]) -> Any:
    table = csv.writer(stream, lineterminator="\n")

    def write(columns: Sequence[str], cells: list[str]) -> None:
        table.writerow(map(on_one_line, cells))

    return write


def _json_writer(stream: IO[str]) -> Any:
    def write(columns: Sequence[str], cells: list[str]) -> None:
        stream.write(json.dumps(dict(zip(columns, cells, strict=True)), ensure_ascii=False) + "\n")

    return write


def _schema_of(model: Path) -> FeatureSchema:
    try:
        with tarfile.open(model) as tar:
            for member in tar:
                if member.name.removeprefix("./") == CONFIG and (stream := tar.extractfile(member)) is not None:
                    return ModelConfig.model_validate_json(stream.read()).schema_
    except (tarfile.TarError, OSError, ValueError):
        pass
    raise UserError(f"{model}: this is no model.tar.gz of a training job.")
