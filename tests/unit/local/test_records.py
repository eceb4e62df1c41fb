from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.config.transform import BatchStrategy, CompressionType, SplitType
from multimodal_algo.core.errors import UserError
from multimodal_algo.local.records import Payload, chunks, payloads

LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=12)


def cut(body: bytes, limit: int, strategy: BatchStrategy = BatchStrategy.MULTI_RECORD) -> list[Payload]:
    return list(payloads(io.BytesIO(body), "x.csv", SplitType.LINE, strategy, limit))


@given(LINES, st.booleans(), st.sampled_from(BatchStrategy), st.integers(13, 40))
def test_payloads_hold_every_record_untouched_and_in_order(
    lines: list[bytes], final_newline: bool, strategy: BatchStrategy, limit: int
) -> None:
    body = b"\n".join(lines) + (b"\n" if final_newline and lines else b"")
    found = cut(body, limit, strategy)
    assert b"".join(payload.body for payload in found) == body
    records = body.count(b"\n") + (not body.endswith(b"\n") and body != b"")
    assert sum(payload.records for payload in found) == records
    assert all(len(payload.body) <= limit for payload in found)
    line = 1
    for payload in found:
        assert payload.first_line == line
        line += payload.records
    if strategy is BatchStrategy.SINGLE_RECORD:
        assert all(payload.records == 1 for payload in found)


def test_as_many_records_as_fit_are_packed() -> None:
    assert [payload.body for payload in cut(b"aa\nbb\ncc\ndd\n", limit=6)] == [b"aa\nbb\n", b"cc\ndd\n"]


def test_quoted_newlines_are_torn_apart_as_the_platform_does() -> None:
    assert [payload.body for payload in cut(b'1,"a\nb",2\n', 6)] == [b'1,"a\n', b'b",2\n']


def test_a_record_larger_than_the_payload_is_reported_with_its_line() -> None:
    with pytest.raises(UserError, match=r"x\.csv, line 2: 9 bytes are more than the payload limit of 5"):
        cut(b"a\nbbbbbbbb\nc\n", limit=5)


def test_without_split_a_file_is_one_payload() -> None:
    whole = list(payloads(io.BytesIO(b"a\nb\n"), "x", SplitType.NONE, BatchStrategy.MULTI_RECORD, 99))
    assert [payload.body for payload in whole] == [b"a\nb\n"]
    assert list(payloads(io.BytesIO(b""), "x", SplitType.NONE, BatchStrategy.MULTI_RECORD, 99)) == []


@given(body=st.binary(max_size=200))
def test_a_gzip_file_is_read_as_what_was_compressed(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    path = tmp_path_factory.mktemp("gzip") / "x.gz"
    path.write_bytes(gzip.compress(body[:100]) + gzip.compress(body[100:]))
    assert b"".join(chunks(path, "x", CompressionType.GZIP)) == body


@pytest.mark.parametrize("body", [b"a,b\n", gzip.compress(b"a,b\n", mtime=0)[:-9]])
def test_a_file_that_is_no_whole_gzip_is_reported(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x.gz").write_bytes(body)
    with pytest.raises(UserError, match=r"x\.gz: not a whole gzip file"):
        list(chunks(tmp_path / "x.gz", "x.gz", CompressionType.GZIP))
