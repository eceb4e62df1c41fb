"""Cells of Parquet files of any writer are the cells of the same table as CSV."""

from __future__ import annotations

import datetime
import io
import uuid
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest import parquet
from multimodal_algo.ingest.images import SeveralImages, decode_images
from multimodal_algo.ingest.parquet import open_parquet, read_parquet, rows_of
from multimodal_algo.serving.decoding import Kind, decode


def jpeg(colour: tuple[int, int, int] = (200, 10, 30)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(stream, "JPEG")
    return stream.getvalue()


RED, BLUE = jpeg(), jpeg((0, 0, 200))


def cells_of(values: pa.Array | pa.ChunkedArray, name: str = "a_cat", **options: Any) -> list[Any]:
    stream = io.BytesIO()
    pq.write_table(pa.table({name: values}), stream, **options)
    return [cell for (cell,) in rows_of(open_parquet(io.BytesIO(stream.getvalue())), "x.parquet")]


def moments(*values: int, kind: pa.DataType) -> pa.Array:
    return pa.array(values, pa.int64()).cast(kind)


SECONDS = 1_704_164_645  # 2024-01-02 03:04:05
MIDNIGHT = 1_704_153_600


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None, -(2**63)], pa.int64()), ["1", "", "-9223372036854775808"]),
        (pa.array([2**64 - 1, 2**53 + 1], pa.uint64()), ["18446744073709551615", "9007199254740993"]),
        (pa.array([1.0, 0.1, 1e22, None, float("nan")], pa.float64()), ["1.0", "0.1", "1e+22", "", ""]),
        (pa.array([0.1, 16777216.0, float("nan"), None], pa.float32()), ["0.1", "16777216.0", "", ""]),
        (pa.array(np.array([0.1, 2, np.nan], dtype=np.float16)), ["0.1", "2.0", ""]),
        (pa.array([True, False, None]), ["true", "false", ""]),
        (pa.array([None, None], pa.null()), ["", ""]),
        (pa.array([Decimal("1.10"), Decimal("100.00"), Decimal("-0.00"), None]), ["1.1", "100", "0", ""]),
        (pa.array([Decimal("1" * 50 + ".10")], pa.decimal256(60, 4)), ["1" * 50 + ".1"]),
        (pa.array([Decimal("0.00000001")], pa.decimal128(12, 8)), ["0.00000001"]),
        (pa.array(["b", None, "a", "b"]).dictionary_encode(), ["b", "", "a", "b"]),
        (pa.array([1, None, 2]).dictionary_encode(), ["1", "", "2"]),
        (pa.array(["x", None], pa.large_string()), ["x", ""]),
        (pa.array(["x", None], pa.string_view()), ["x", ""]),
        (pa.array([b"caf\xc3\xa9", None], pa.binary()), ["café", ""]),
        (pa.array([datetime.date(2024, 1, 2), None]), ["2024-01-02", ""]),
        (moments(MIDNIGHT * 1000, kind=pa.date64()), ["2024-01-02"]),
        (moments(MIDNIGHT, SECONDS, kind=pa.timestamp("s")), ["2024-01-02", "2024-01-02 03:04:05"]),
        (moments(SECONDS * 1000 + 250, kind=pa.timestamp("ms")), ["2024-01-02 03:04:05.25"]),
        (moments(MIDNIGHT * 10**9 + 1, kind=pa.timestamp("ns")), ["2024-01-02 00:00:00.000000001"]),
        (moments(MIDNIGHT * 10**6, kind=pa.timestamp("us", "UTC")), ["2024-01-02 00:00:00+00:00"]),
        (moments(MIDNIGHT * 10**3 + 5, kind=pa.timestamp("ms", "Europe/Berlin")), ["2024-01-02 01:00:00.005+01:00"]),
        (moments(-1, kind=pa.timestamp("ms", "-03:30")), ["1969-12-31 20:29:59.999-03:30"]),
        (moments(MIDNIGHT, kind=pa.timestamp("s", "Mars/Base")), ["2024-01-02 00:00:00+00:00"]),
        (pa.array([uuid.UUID(int=5).bytes, None], pa.uuid()), ["00000000-0000-0000-0000-000000000005", ""]),
        (pa.array(['{"a":1}', None], pa.json_()), ['{"a":1}', ""]),
        (pa.array([1, None], pa.int8()).cast(pa.bool_()), ["true", ""]),
        (moments(253402300800, kind=pa.timestamp("s")), ["10000-01-01"]),
        (moments(-62135596801, kind=pa.timestamp("s", "UTC")), ["0000-12-31 23:59:59+00:00"]),
        (pa.array([3_723_250], pa.int32()).cast(pa.time32("ms")), ["01:02:03.25"]),
        (moments(90_061_500_000, kind=pa.duration("us")), ["1 days 01:01:01.5"]),
        (moments(-1, kind=pa.duration("s")), ["-1 days +23:59:59"]),
    ],
    ids=str,
)
def test_each_type_has_one_text(values: pa.Array, expected: list[str]) -> None:
    assert cells_of(values) == expected


def test_nullable_and_missing_values_of_pandas_are_empty() -> None:
    frame = pd.DataFrame(
        {
            "i_num": pd.array([1, None], dtype="Int64"),
            "b_cat": pd.array([True, None], dtype="boolean"),
            "s_text": pd.array(["x", None], dtype="string"),
            "t_cat": [pd.Timestamp("2024-01-02 03:04"), pd.NaT],
            "f_cat": [1.5, float("nan")],
            "c_cat": pd.Categorical(["a", None]),
        }
    )
    stream = io.BytesIO()
    frame.to_parquet(stream)
    first, second = rows_of(open_parquet(io.BytesIO(stream.getvalue())), "x")
    assert first == ["1", "true", "x", "2024-01-02 03:04:00", "1.5", "a"]
    assert second == [""] * 6


@settings(max_examples=40, deadline=None)
@given(st.floats(allow_nan=False, width=32))
def test_floats_of_32_bits_read_back_to_themselves(value: float) -> None:
    (cell,) = cells_of(pa.array([value], pa.float32()), "a_num")
    assert np.float32(float(cell)) == np.float32(value)
    assert len(cell.lstrip("-").replace(".", "").split("e")[0].strip("0")) <= 9


@settings(max_examples=40, deadline=None)
@given(st.datetimes(), st.sampled_from(["s", "ms", "us"]))
def test_timestamps_are_iso_and_begin_with_their_date(value: datetime.datetime, unit: str) -> None:
    array = pa.array([value], pa.timestamp("us")).cast(pa.timestamp(unit), safe=False)
    (cell,) = cells_of(array)
    assert datetime.datetime.fromisoformat(cell) == array.to_pylist()[0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text()), max_size=5))
def test_lists_of_texts_are_joined_with_a_blank(texts: list[str | None]) -> None:
    (cell,) = cells_of(pa.array([texts], pa.list_(pa.string())), "a_text")
    assert cell == " ".join(text for text in texts if text)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.string()), pa.large_list(pa.string()), pa.list_(pa.large_string()), pa.list_(pa.string(), 2)]
)
def test_every_kind_of_list_of_texts_is_read(kind: pa.DataType) -> None:
    assert cells_of(pa.array([["a", "b"], ["c", None]], kind), "a_text") == ["a b", "c"]


STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (STRUCT, {"bytes": RED, "path": "a.jpg"}, RED),
        (STRUCT, {"bytes": None, "path": "a.jpg"}, "a.jpg"),
        (STRUCT, {"bytes": None, "path": None}, ""),
        (STRUCT, None, ""),
        (pa.struct([("path", pa.string()), ("bytes", pa.large_binary())]), {"bytes": RED, "path": None}, RED),
        (pa.struct([("bytes", pa.binary()), ("path", pa.null())]), {"bytes": RED, "path": None}, RED),
        (pa.list_(pa.binary()), [RED, None, BLUE], SeveralImages((RED, BLUE))),
        (pa.list_(pa.binary()), [RED], RED),
        (pa.list_(pa.binary()), [], ""),
        (pa.list_(pa.binary()), [None], ""),
        (pa.list_(pa.string()), ["a.jpg", "b.jpg"], SeveralImages(("a.jpg", "b.jpg"))),
        (pa.large_list(STRUCT), [{"bytes": RED}, {"path": "b.jpg"}], SeveralImages((RED, "b.jpg"))),
        (pa.binary(len(RED)), RED, RED),
        (pa.binary_view(), RED, RED),
        (pa.large_binary(), None, ""),
        (pa.dictionary(pa.int8(), pa.binary()), RED, RED),
        (pa.dictionary(pa.int8(), pa.string()), "a.jpg", "a.jpg"),
        (pa.float64(), float("nan"), ""),
    ],
    ids=str,
)
def test_images_come_as_bytes_structs_and_lists(kind: pa.DataType, value: object, expected: object) -> None:
    assert cells_of(pa.array([value], kind), "a_image") == [expected]


def test_a_cell_of_several_images_has_the_size_of_its_images_and_all_are_decoded() -> None:
    (cell,) = cells_of(pa.array([[RED, BLUE]], pa.list_(pa.binary())), "a_image")
    assert len(cell) == len(RED) + len(BLUE)
    first, second = decode_images(cell)
    assert first[..., 0].mean() > 150
    assert second[..., 2].mean() > 150


@pytest.mark.parametrize(
    ("name", "values", "remedy"),
    [
        ("a_cat", pa.array([["x"]]), "Store strings, numbers or booleans"),
        ("label", pa.array([["x"]]), "Store strings, numbers or booleans"),
        ("a_num", pa.array([[1.0, 2.0]]), "Store strings, numbers or booleans"),
        ("a_text", pa.array([[1.0, 2.0]]), "Store strings or lists of strings"),
        ("a_text", pa.array([{"x": "y"}]), "Store strings or lists of strings"),
        ("a_text", pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string())), "Store strings or lists of strings"),
        ("a_image", pa.array([{"height": 1, "data": b"x"}]), "Store bytes or base64"),
        ("a_image", pa.array([[[b"x"]]]), "Store bytes or base64"),
        ("a_image", pa.array([[1, 2]]), "Store bytes or base64"),
    ],
)
def test_a_type_that_is_not_read_has_a_remedy(name: str, values: pa.Array, remedy: str) -> None:
    with pytest.raises(UserError, match=f"^x.parquet, column {name}: the type .* is not read. {remedy}"):
        cells_of(values, name)


@pytest.mark.parametrize("is_registered", [True, False])
def test_periods_of_pandas_are_not_read_as_numbers(is_registered: bool) -> None:
    stream = io.BytesIO()
    pd.DataFrame({"a_cat": pd.period_range("2024-01", periods=2, freq="M")}).to_parquet(stream)
    kind = pq.ParquetFile(stream).schema_arrow.field(0).type
    if not is_registered:
        pa.unregister_extension_type(kind.extension_name)
    try:
        with pytest.raises(UserError, match=r"column a_cat: the type .* is not read"):
            list(rows_of(open_parquet(stream), "x"))
    finally:
        if not is_registered:
            pa.register_extension_type(kind)


def test_a_nested_column_without_modality_disturbs_nobody() -> None:
    assert cells_of(pa.array([{"x": 1}, None]), "extra") == ["", ""]


def test_text_that_is_not_utf_8_is_an_error_with_its_column() -> None:
    broken = pa.array([b"caf\xe9"]).view(pa.string())
    with pytest.raises(UserError, match=r"x\.parquet, column a_text: not UTF-8"):
        cells_of(broken, "a_text")
    with pytest.raises(UserError, match=r"x\.parquet, column label: not UTF-8"):
        cells_of(pa.array([b"\xff"]), "label")
    assert cells_of(pa.array([b"\xff"]), "a_text") == [b"\xff"]  # a bad cell of its row


def test_timestamps_of_spark_after_2262_do_not_wrap() -> None:
    array = pa.array([datetime.datetime(9999, 12, 31)], pa.timestamp("us"))
    assert cells_of(array, use_deprecated_int96_timestamps=True) == ["9999-12-31"]


@pytest.mark.parametrize("group_rows", [1, 7, 1000])
@pytest.mark.parametrize("first", [0, 3, 8, 30])
def test_rows_are_in_order_from_any_row_on(tmp_path: Path, group_rows: int, first: int) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a_num": range(30), "b_text": ["x" * n for n in range(30)]}), path, group_rows)
    rows = [(number, cells) for number, cells, _ in read_parquet(path, "x", first) if number]
    assert rows == [(n + 1, [str(n), "x" * n]) for n in range(first, 30)]


def test_batches_of_large_cells_have_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def images(values: pa.Array) -> Sequence[Any]:
        sizes.append(len(values))
        return [""] * len(values)

    monkeypatch.setattr(parquet._Column, "cells", lambda _, values: images(values))
    images_of_40_rows = pa.array([[bytes(100_000)] * 10] * 40, pa.list_(pa.binary()))
    cells_of(images_of_40_rows, "a_image", use_dictionary=False)
    assert sizes == [16, 16, 8]


def test_inference_reads_what_training_reads() -> None:
    table = pa.table(
        {
            "a_text": pa.array([["x", "y"], None]),
            "b_num": pa.array([Decimal("1.50"), None]),
            "c_cat": moments(MIDNIGHT, SECONDS, kind=pa.timestamp("s")),
            "d_image": pa.array([[RED, BLUE], [RED]], pa.list_(pa.binary())),
        }
    )
    stream = io.BytesIO()
    pq.write_table(table, stream)
    schema = FeatureSchema((*table.column_names, "label"))
    records = decode(stream.getvalue(), Kind.PARQUET, schema).records
    rows = list(rows_of(open_parquet(stream), "x"))
    assert [list(record.cells) for record in records] == rows
    assert rows[0] == ["x y", "1.5", "2024-01-02", SeveralImages((RED, BLUE))]
