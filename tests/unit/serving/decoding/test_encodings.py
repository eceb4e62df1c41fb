from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile

import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.serving.decoding import Kind, Reading, decode
from multimodal_algo.serving.decoding.bounds import BodyTooLarge
from multimodal_algo.serving.decoding.packed import unpacked

SCHEMA = FeatureSchema(("ID", "a_text", "b_num", "label"))
TEXTS = [Kind.CSV, Kind.JSON_LINES, Kind.JSON]
CSV = "1,Caf\u00e9,2\n2,na\u00efve,3\n3,\u00e9t\u00e9,4\n4,plain,5\n5,plain,6\n6,plain,7\n7,plain,8\n"
JAPANESE = "1,\u691c\u7d22\u6e08\u307f,2\n2,\u691c\u7d22\u6e08\u307f\u306e\u672c,3\n3,\u691c\u7d22,4\n"


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("text", [CSV, JAPANESE])
@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_with_or_without_mark_is_refused_with_its_name(kind: Kind, text: str, charset: str) -> None:
    with pytest.raises(UserError, match=r"^The body is UTF-(16|32).*Save it as UTF-8"):
        decode(text.encode(charset), kind, SCHEMA)


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "UTF_16", "'windows-1252'"])
def test_a_charset_is_read_as_such(charset: str) -> None:
    body = CSV.encode(charset.strip("'"))
    assert decode(body, Kind.CSV, SCHEMA, Reading(charset)).records[0].cells == ("1", "Caf\u00e9", "2")


@pytest.mark.parametrize(
    "charset", ["rot13", "base64", "zlib", "hex", "idna", "punycode", "unicode_escape", "undefined", "aliases", "x" * 9]
)
def test_what_is_not_a_character_set_is_refused(charset: str) -> None:
    with pytest.raises(UserError, match="cannot be read as charset"):
        decode(b"1,x,2\n", Kind.CSV, SCHEMA, Reading(charset))


@pytest.mark.parametrize("kind", [Kind.CSV, Kind.JSON_LINES])
def test_what_is_likely_latin_1_is_refused_with_its_name(kind: Kind) -> None:
    text = CSV if kind is Kind.CSV else "".join(f'{{"a_text": "{line}"}}\n' for line in CSV.splitlines())
    with pytest.raises(UserError, match=r"likely Latin-1 \(Windows-1252\).*charset=windows-1252"):
        decode(text.encode("latin-1"), kind, SCHEMA, Reading(in_batch=True))


def test_another_encoding_is_refused() -> None:
    with pytest.raises(UserError, match="The body is likely SHIFT_JIS, not UTF-8: 3 lines"):
        decode(JAPANESE.encode("cp932"), Kind.CSV, SCHEMA)


def test_wrong_bytes_among_lines_of_utf_8_make_bad_rows() -> None:
    body = CSV.encode().replace(b"plain", b"pla\xefn")
    problems = [record.problem for record in decode(body, Kind.CSV, SCHEMA).records]
    assert [bool(problem) for problem in problems] == [False] * 3 + [True] * 4
    (_, bad) = decode(b"1,x,2\n2,\xff,3\n", Kind.CSV, SCHEMA).records
    assert "not UTF-8 (byte 0xff at position 3)" in (bad.problem or "")


def test_a_million_byte_order_marks_take_linear_time() -> None:
    (record,) = decode(b"\xef\xbb\xbf" * 1_000_000 + b"1,x,2\n", Kind.CSV, SCHEMA).records
    assert record.identity == "1"


def test_a_hundred_thousand_members_of_gzip_take_linear_time() -> None:
    assert unpacked(gzip.compress(b"") * 100_000 + gzip.compress(b"1,x,2\n"), "gzip", 100) == b"1,x,2\n"


def test_gzip_in_gzip_ends() -> None:
    body = b"1,x,2\n"
    for _ in range(3):
        body = gzip.compress(body)
    assert unpacked(body, "", 1000) == b"1,x,2\n"
    with pytest.raises(UserError, match="packed with gzip more than 3 times"):
        unpacked(gzip.compress(body), "", 1000)


def test_byte_order_marks_are_no_part_of_a_cell() -> None:
    records = decode(b"\xef\xbb\xbf\xef\xbb\xbf1,x,2\n\xef\xbb\xbf2,y,3\n", Kind.CSV, SCHEMA).records
    assert [record.identity for record in records] == ["1", "2"]


def test_nul_bytes_inside_text_are_letters() -> None:
    (record,) = decode(b"1,a\0longer text,2\n", Kind.CSV, SCHEMA).records
    assert record.cells == ("1", "a\0longer text", "2")


BODY = b"1,x,2\n" * 100


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "", "identity, gzip"])
def test_gzip_is_unpacked_declared_or_not(encoding: str) -> None:
    assert unpacked(gzip.compress(BODY), encoding, 10_000) == BODY
    assert unpacked(gzip.compress(BODY) + gzip.compress(BODY), encoding, 10_000) == BODY * 2
    assert unpacked(gzip.compress(BODY) + b"\n", encoding, 10_000) == BODY


def test_plain_bodies_stay_as_they_are_also_where_a_proxy_left_the_header() -> None:
    assert unpacked(BODY, "", 10_000) == BODY
    assert unpacked(BODY, "gzip", 10_000) == BODY
    assert unpacked(b"BZhou,x,2\n", "", 10_000) == b"BZhou,x,2\n"


def test_gzip_is_unpacked_within_bounds() -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    for body in (bomb, gzip.compress(bomb), gzip.compress(BODY) * 20):
        with pytest.raises(BodyTooLarge, match="larger than 10000 bytes once unpacked"):
            unpacked(body, "gzip", 10_000)


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, BODY)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("body", "encoding", "message"),
    [
        (gzip.compress(BODY, mtime=0)[:-5], "", "cut off. In batch, set CompressionType=Gzip"),
        (gzip.compress(BODY, mtime=0)[:20] + b"xxxxxxxx", "gzip", "The gzip body is (broken|cut off)"),
        (gzip.compress(BODY, mtime=0) + b"1,x,2\n", "", "other bytes follow"),
        (zipped("train.csv"), "", "a zip archive or an Excel file"),
        (zipped("xl/workbook.xml"), "gzip", "a zip archive or an Excel file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "", r"an Excel file \(.xls\)"),
        (bz2.compress(BODY), "", "a bzip2 file"),
        (lzma.compress(BODY), "", "an xz file"),
        (BODY, "br", "The Content-Encoding 'br' is not supported. Send gzip"),
    ],
)
def test_what_cannot_be_unpacked_is_named(body: bytes, encoding: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        unpacked(body, encoding, 10_000)
