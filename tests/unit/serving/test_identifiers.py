from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.sources import Source, read_rows
from multimodal_algo.serving.decoding import Kind, decode

SCHEMA = FeatureSchema(("ID", "a_text", "label"))
# Two neighbours beyond 2**53, which a float64 cannot tell apart, and the greatest int64.
IDENTIFIERS = (2**53, 2**53 + 1, 2**63 - 1)


def rows(with_label: bool = False) -> list[dict[str, object]]:
    more = {"label": "x"} if with_label else {}
    return [{"ID": identifier, "a_text": "t", **more} for identifier in IDENTIFIERS]


def parquet(values: list[dict[str, object]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(values), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("".join(f"{row['ID']},t\n" for row in rows()).encode(), Kind.CSV),
        ("".join(json.dumps(row) + "\n" for row in rows()).encode(), Kind.JSON_LINES),
        (json.dumps({"instances": rows()}).encode(), Kind.JSON),
        (parquet(rows()), Kind.PARQUET),
    ],
    ids=["csv", "lines", "json", "parquet"],
)
def test_identifiers_beyond_the_whole_numbers_of_a_float_stay_exact(body: bytes, kind: Kind) -> None:
    assert [record.identity for record in decode(body, kind, SCHEMA).records] == [str(each) for each in IDENTIFIERS]


def test_identifiers_of_training_rows_in_parquet_stay_exact(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    path.write_bytes(parquet(rows(with_label=True)))
    _, *read = [row.fields for row in read_rows(Source(path, path.name))]
    assert [fields[0] for fields in read] == [str(each) for each in IDENTIFIERS]
