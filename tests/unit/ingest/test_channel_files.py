"""Which files of a channel are read, and which are passed over."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.ingest.channel_files import find_files
from multimodal_algo.ingest.sources import find_sources

TABLE = "ID,label,a_text\n1,p,x\n"


def put(folder: Path, name: str, content: str | bytes = "x") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(
    "name",
    [
        "_SUCCESS", "_committed_123", ".part-00000.crc", "._part-00000", "__MACOSX/part-00000", "_delta_log/0.json",
        "LICENSE", "license.txt", "README", "README.md", "NOTICE", "unload_manifest", "train.manifest", "manifest",
        "part_etags_do_not_modify.tmp", "train.csv.crc", "train.csv.md5", "train.csv~", "Thumbs.db", "checksums.txt",
        "notes.txt", "metadata.json", "train.csv.metadata",
    ],
)  # fmt: skip
def test_what_is_not_data_is_passed_over(tmp_path: Path, name: str) -> None:
    put(tmp_path, "part-00000", TABLE)
    put(tmp_path, name, '{"entries": []}')
    put(tmp_path, "empty.csv", "")
    files = find_files(tmp_path)
    assert files.tables == ["part-00000"]
    assert sorted(files.passed_over) == sorted([name, "empty.csv"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", "x"),
        ("deep/er/train.CSV.gz", "x"),
        ("x.snappy.parquet", "x"),
        ("part-00000", "1,p,x\n"),
        ("part-00000.c000", "1,p,x\n"),
        ("unload_0000_part_00.gz", gzip.compress(TABLE.encode(), mtime=0)),
        ("part-00001.gz", gzip.compress(b"1,p,x\n", mtime=0)),
        ("train.tsv", "x"),
        ("train.txt", TABLE),
        ("train.txt", TABLE.replace(",", ";")),
        ("train.dat", "sep=;\n" + TABLE),
        ("train.txt", TABLE.encode("utf-16")),
        ("renamed.bin", b"PAR1 and more"),
        # These are refused by name when they are read.
        ("train.xlsx", b"PK\x03\x04"),
        ("train.csv.zip", b"PK\x03\x04"),
        ("train.jsonl", "{}"),
        ("train.json", '[{"label": "p"}]'),
        ("readme.csv", TABLE),
    ],
)
def test_what_may_be_data_is_read(tmp_path: Path, name: str, content: str | bytes) -> None:
    put(tmp_path, name, content)
    assert find_files(tmp_path).tables == [name]


def test_files_with_the_ending_of_a_table_are_tables(tmp_path: Path) -> None:
    put(tmp_path, "1.txt", TABLE)
    put(tmp_path, "2.txt", "2,q,y\n")
    put(tmp_path, "readme.txt", "Hello")
    assert find_files(tmp_path).tables == ["1.txt", "2.txt"]


def test_one_line_of_the_log_names_what_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    put(tmp_path, "a.csv", TABLE)
    find_sources(tmp_path)
    assert caplog.messages == []
    for name in ("_SUCCESS", "LICENSE", "b.manifest", "c.crc", "d.crc"):
        put(tmp_path, name)
    find_sources(tmp_path)
    (line,) = caplog.messages
    assert "5 files are not data and passed over: LICENSE, _SUCCESS, b.manifest and 2 more" in line


def test_a_channel_with_nothing_but_markers_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "empty.csv", "")
    with pytest.raises(UserError, match="nothing is there"):
        find_sources(tmp_path)
    put(tmp_path, "_SUCCESS")
    with pytest.raises(UserError, match="only _SUCCESS is there"):
        find_sources(tmp_path)
