"""Parquet bodies become records (rows). The library Arrow is imported when the first such body arrives."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from multimodal_algo.core.errors import UserError, first_line
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema
from multimodal_algo.serving.decoding.bounds import require_room, row_bytes
from multimodal_algo.serving.decoding.json_body import wrong_names
from multimodal_algo.serving.decoding.records import Decoded, Reading, Record

if TYPE_CHECKING:
    import pyarrow.parquet as pq


def read_parquet_body(body: bytes, schema: FeatureSchema, reading: Reading) -> Decoded:
    """Return the records (rows) of a Parquet body. Its columns are found by name, and other columns are ignored.

    Raises
    ------
    UserError
        The body is not Parquet, it is too large in memory, or its columns are not those of the model.
    """
    import pyarrow as pa

    from multimodal_algo.ingest.parquet import open_parquet, rows_of

    try:
        file = open_parquet(io.BytesIO(body))
        own = reading.names
        names = [own.canonical(name) for name in file.schema_arrow.names]
        used = [name for name in names if name not in own.dropped]
        if problem := wrong_names(dict.fromkeys(used), schema) or _unknown(used, schema, reading):
            raise UserError(f"The Parquet body cannot be read: {problem}.")
        _require_small(body, file, reading.most_bytes)
        rows = rows_of(file, "The Parquet body", stream=io.BytesIO(body), names=own)
        records, size = _records(rows, names, schema, reading.most_bytes)
        return Decoded(records, memory_bytes=size)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"The body cannot be read as Parquet ({first_line(error)}).") from None


def _records(
    rows: Iterator[list[Any]], names: list[str], schema: FeatureSchema, most_bytes: int
) -> tuple[list[Record], int]:
    """Return the records of these rows and the bytes that they take.

    The bytes are counted row by row, up to the limit.
    """
    positions = [names.index(column) if column in names else None for column in schema.inference_columns]
    id_position = names.index(ID) if ID in names and schema.has_id else None
    records: list[Record] = []
    size = 0
    for number, row in enumerate(rows, start=1):
        cells = tuple("" if position is None else row[position] for position in positions)
        size += row_bytes(1, len(cells)) + sum(map(len, cells))
        require_room(size, most_bytes)
        records.append(Record(number, cells, identity="" if id_position is None else str(row[id_position])))
    return records, size


def _require_small(body: bytes, file: pq.ParquetFile, most_bytes: int) -> None:
    """Raise an error if a Parquet file would take too much memory: its pages, its values, or values that rows share."""
    from multimodal_algo.ingest.parquet_pages import group_sizes, shared_bytes

    stream = io.BytesIO(body)
    pages = values = 0
    for group in range(file.num_row_groups):
        sizes = group_sizes(stream, file, group)
        pages += sizes.pages
        values += sizes.values
        require_room(max(pages, row_bytes(0, values)), most_bytes)
        for path, size in sizes.shared.items():
            if size > most_bytes:
                require_room(shared_bytes(body, path), most_bytes)


def _unknown(names: list[str], schema: FeatureSchema, reading: Reading) -> str | None:
    """Return the problem of a column that the model does not have. Return None if the options allow such columns."""
    if not reading.refuse_unknown_keys:
        return None
    unknown = [name for name in names if name not in (*schema.features, ID, LABEL)]
    return f"there is no column '{unknown[0][:60]}'" if unknown else None
