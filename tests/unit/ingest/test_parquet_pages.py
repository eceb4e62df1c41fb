from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.parquet import read_parquet
from multimodal_algo.ingest.parquet_pages import GroupSizes, group_sizes, shared_bytes
from multimodal_algo.serving.decoding import Kind, Reading, decode
from multimodal_algo.serving.decoding.bounds import BodyTooLarge

SCHEMA = FeatureSchema(("ID", "label", "a_text", "b_image"))
VALUE = "x" * 100_000


def written(columns: dict[str, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, **options)
    return stream.getvalue()


def repeated(value: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), [value])


def sizes_of(body: bytes) -> GroupSizes:
    return group_sizes(io.BytesIO(body), pq.ParquetFile(io.BytesIO(body)), 0)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
def test_pages_say_what_they_are_in_memory(version: str, compression: str) -> None:
    options = {"data_page_version": version, "compression": compression, "write_page_checksum": True}
    shared = sizes_of(written({"a_text": repeated(VALUE, 500), "n": range(500)}, **options))
    assert len(VALUE) <= shared.row < 1.1 * len(VALUE)
    assert len(VALUE) <= shared.pages < 2 * len(VALUE)
    assert shared.values == 500
    assert shared.shared["a_text"] >= 500 * len(VALUE)
    plain = sizes_of(written({"a_text": [VALUE] * 50}, use_dictionary=False, **options))
    assert plain.pages >= 50 * len(VALUE)
    assert (plain.row, plain.shared) == (0, {})


def test_prefixes_that_rows_share_count_as_shared_values() -> None:
    body = written({"a_text": [VALUE] * 50}, use_dictionary=False, column_encoding={"a_text": "DELTA_BYTE_ARRAY"})
    assert sizes_of(body).row >= len(VALUE)


def test_values_of_rows_and_of_lists_are_counted_without_making_them() -> None:
    body = written(
        {"a_text": repeated(VALUE, 500), "b_image": pa.array([["ab", "cd", None], None, ["ab"]] + [[]] * 497)}
    )
    assert shared_bytes(body, "a_text") == 500 * len(VALUE)
    assert shared_bytes(body, "b_image.list.element") == 6


@pytest.mark.parametrize(
    "columns",
    [
        {"a_text": repeated(VALUE, 5000)},
        {"b_image": pa.ListArray.from_arrays([0, 5000], repeated(VALUE, 5000))},
        {"a_text": pa.nulls(1_000_000, pa.string())},
    ],
    ids=["rows", "list", "nulls"],
)
def test_a_body_whose_rows_would_be_too_large_is_refused_before_they_are_made(columns: dict[str, Any]) -> None:
    body = written(columns)
    tracemalloc.start()
    with pytest.raises(BodyTooLarge, match="Send fewer rows"):
        decode(body, Kind.PARQUET, SCHEMA, Reading(most_bytes=50_000_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000


def test_rows_are_counted_where_the_pages_allow_them() -> None:
    body = written({"a_text": [str(number) for number in range(1000)]})
    assert len(decode(body, Kind.PARQUET, SCHEMA, Reading(most_bytes=2_000_000)).records) == 1000
    with pytest.raises(BodyTooLarge):
        decode(body, Kind.PARQUET, SCHEMA, Reading(most_bytes=1_000_000))


def test_a_page_without_a_header_is_refused() -> None:
    body = bytearray(written({"a_text": repeated(VALUE, 10)}, compression="none"))
    body[4:40] = b"\xff" * 36
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        decode(bytes(body), Kind.PARQUET, SCHEMA)


def test_training_reads_few_large_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multimodal_algo.ingest.parquet._MOST_BATCH_BYTES", 10_000_000)
    path = tmp_path / "a.parquet"
    large = "x" * 1_000_000
    path.write_bytes(written({"label": ["a"] * 200, "a_text": repeated(large, 200)}))
    pool = pa.default_memory_pool()
    before, most = pool.bytes_allocated(), 0
    for _, cells, _ in read_parquet(path, "a.parquet"):
        most = max(most, pool.bytes_allocated() - before)
        assert len(cells) == 2
    assert most < 20 * len(large)
