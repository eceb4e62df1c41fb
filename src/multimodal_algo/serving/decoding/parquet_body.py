"""Parquet bodies to records. It imports Arrow when the first such body comes."""

from __future__ import annotations

import io

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema
from multimodal_algo.serving.decoding.json_body import wrong_names
from multimodal_algo.serving.decoding.records import Decoded, Reading, Record

# Most bytes of a Parquet body in memory.
_MOST_BYTES = 2 * 10**9


def read_parquet_body(body: bytes, schema: FeatureSchema, reading: Reading) -> Decoded:
    """Return the records of a Parquet file. Columns have their names, and other columns are ignored.

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
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        if sum(max(group.total_byte_size, group.num_rows) for group in groups) > _MOST_BYTES:
            raise UserError("The Parquet body is too large in memory. Send fewer rows at a time.")
        positions = [names.index(column) if column in names else None for column in schema.inference_columns]
        id_position = names.index(ID) if ID in names and schema.has_id else None
        return Decoded(
            [
                Record(
                    number,
                    tuple("" if position is None else cells[position] for position in positions),
                    identity="" if id_position is None else str(cells[id_position]),
                )
                for number, cells in enumerate(rows_of(file, "The Parquet body", names=own), start=1)
            ]
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"The body cannot be read as Parquet ({str(error).split(chr(10))[0][:120]}).") from None


def _unknown(names: list[str], schema: FeatureSchema, reading: Reading) -> str | None:
    """Return the problem of a column that the model does not have, where the options refuse such columns."""
    if not reading.refuse_unknown_keys:
        return None
    unknown = [name for name in names if name not in (*schema.features, ID, LABEL)]
    return f"there is no column '{unknown[0][:60]}'" if unknown else None
