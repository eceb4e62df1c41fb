"""Formats and encodings are recognised by content, and named with a remedy."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.ingest.sources import Source, read_rows

TEXT = "ID,label,a_text\n" + "".join(f"{n},p,words {n}\n" for n in range(30))


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, TEXT)
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("x.csv")
        info.size = len(TEXT)
        archive.addfile(info, io.BytesIO(TEXT.encode()))
    return stream.getvalue()


def arrow(kind: str) -> bytes:
    table, stream = pa.table({"label": ["p"] * 9, "a_num": range(9)}), io.BytesIO()
    if kind == "orc":
        pyarrow.orc.write_table(table, stream)
    else:
        pyarrow.feather.write_feather(table, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "name", "remedy"),
    [
        (zipped("train.csv"), "a zip archive", "Unpack it"),
        (zipped("xl/workbook.xml"), "an Excel workbook (.xlsx)", "Save it as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an Excel workbook (.xls)", "Save it as CSV UTF-8"),
        (bz2.compress(TEXT.encode()), "compressed with bzip2", "Unpack it"),
        (lzma.compress(TEXT.encode()), "compressed with xz", "Unpack it"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "compressed with Zstandard", "Unpack it"),
        (tarred(), "a tar archive", "Unpack it"),
        (gzip.compress(tarred(), mtime=0), "a tar archive", "Unpack it"),
        (arrow("orc"), "an ORC file", "Convert it"),
        (arrow("feather"), "an Arrow (Feather) file", "Convert it"),
        (b"Obj\x01\x04\x14avro.codec", "an Avro file", "Convert it"),
        (b'{"label": "p", "a_text": "x"}\n' * 9, "JSON", "lines=True"),
        (b'[\n  {"label": "p"}\n]', "JSON", "Convert it"),
        (b"<!DOCTYPE html><html>", "an HTML or XML page", "Download"),
    ],
)
@pytest.mark.parametrize("file", ["train.csv", "part-00000"])
def test_a_format_that_is_not_read_is_named_with_a_remedy(
    tmp_path: Path, data: bytes, name: str, remedy: str, file: str
) -> None:
    (tmp_path / file).write_bytes(data)
    with pytest.raises(UserError) as caught:
        list(read_rows(Source(tmp_path / file, file)))
    assert f"{file}: the file is {name}, which is not read. " in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize("name", ["ORCHID_text", "BZh_text", "FEA1_text", "Obj_text", "PK_text", "ARROW1_text"])
def test_names_of_columns_are_not_taken_for_formats(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.csv").write_text(f"{name},label\nx,p\n")
    assert next(row.fields for row in read_rows(Source(tmp_path / "x.csv", "x.csv"))) == [name, "label"]


@pytest.mark.parametrize(
    ("encoding", "text", "likely"),
    [
        ("utf-16", "words", "UTF-16"),
        ("utf-16-le", "words", "UTF-16LE"),
        ("utf-16-be", "words", "UTF-16BE"),
        ("utf-32", "words", "UTF-32"),
        ("cp1252", "Größe – schön, für “dich”", "WINDOWS-1252"),
        ("latin-1", "déjà vu", "WINDOWS-1252"),
        ("latin-1", "un café", "WINDOWS-1252"),
        ("latin-1", "à", "WINDOWS-1252"),
        ("cp1252", "café – naïve", "WINDOWS-1252"),
        ("cp1252", "it’s 5 € – ‘ok’", "WINDOWS-1252"),
        ("cp932", "赤い花瓶です", "SHIFT_JIS"),
        ("cp932", "表示価格", "SHIFT_JIS"),
        ("euc_jp", "カメラです", "EUC-JP"),
        ("euc_kr", "좋은 제품입니다", "EUC-KR"),
        ("gb18030", "这个产品很好", "GB18030"),
        ("big5", "這個產品很好", "BIG5"),
        ("cp1251", "хороший продукт", "WINDOWS-1251"),
        ("koi8_r", "Хороший продукт", "KOI8-R"),
        ("cp866", "Хороший продукт", "CP866"),
        ("cp1253", "Πολύ καλό προϊόν, το συνιστώ σε όλους", "WINDOWS-1253"),
        ("cp1255", "מוצר מצוין אני ממליץ לכולם", "WINDOWS-1255"),
        ("cp1256", "منتج ممتاز أنصح به", "WINDOWS-1256"),
        ("cp874", "สินค้าดีมาก", "WINDOWS-874"),
        ("cp1250", "zażółć gęślą jaźń", "WINDOWS-1250"),
        ("cp1250", "příliš žluťoučký kůň", "WINDOWS-1250"),
        ("cp1250", "árvíztűrő tükörfúrógép", "WINDOWS-1250"),
        ("iso8859_2", "świetny ołówek, żółty", "ISO-8859-2"),
        ("cp1254", "şiddetle tavsiye, çok güzel", "WINDOWS-1254"),
        ("cp1257", "ačiū, kokybė įprasta", "WINDOWS-1257"),
        ("mac_roman", "très bon café à l’été", "MACINTOSH"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_another_encoding_is_named_with_a_command(
    tmp_path: Path, encoding: str, text: str, likely: str, pack: type[bytes]
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(pack(TEXT.replace("words 7", f'"{text}"').encode(encoding)))
    with pytest.raises(UserError, match=r"^x\.csv.*: not UTF-8") as caught:
        list(read_rows(Source(path, "x.csv")))
    assert f"iconv -f {likely} -t UTF-8" in str(caught.value)
    assert likely.startswith("UTF") or "line 9" in str(caught.value)
