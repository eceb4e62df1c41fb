from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from multimodal_algo.ingest import image_files
from multimodal_algo.ingest.image_files import ImageFiles
from multimodal_algo.ingest.images import encoded_images


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    names = ("1.jpg", "2024/Mai/2.jpg", "a b.jpg", "UP.JPG", "noext", "x;y.jpg", "abcd")
    for name in (*names, unicodedata.normalize("NFD", "Café/é.png"), "Straße.jpg", "same.jpg", "Same.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(unicodedata.normalize("NFC", name).encode())
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return folder


def read(cell: str, channel: Path) -> list[str]:
    return [data.decode() for data in encoded_images(cell, ImageFiles(channel))]


@pytest.mark.parametrize(
    ("cell", "file"),
    [
        ("1.jpg", "1.jpg"),
        ("./1.jpg", "1.jpg"),
        ("/1.jpg", "1.jpg"),
        (".\\1.jpg", "1.jpg"),
        (" 1.jpg ", "1.jpg"),
        ("1.JPG", "1.jpg"),
        ("2024\\Mai\\2.jpg", "2024/Mai/2.jpg"),
        ("2024//mai/2.jpg", "2024/Mai/2.jpg"),
        ("2024/ Mai /2.jpg", "2024/Mai/2.jpg"),
        ("/2024/MAI/./2.JPG", "2024/Mai/2.jpg"),
        ("a%20b.jpg", "a b.jpg"),
        ("up.jpg", "UP.JPG"),
        ("NoExt", "noext"),
        ("ABCD", "abcd"),  # is base64 too
        ("x;y.jpg", "x;y.jpg"),
        (unicodedata.normalize("NFC", "Café/é.png"), "Café/é.png"),
        (unicodedata.normalize("NFD", "Café/é.png"), "Café/é.png"),
        (unicodedata.normalize("NFC", "CAFÉ\\É.PNG"), "Café/é.png"),
        ("Caf%C3%A9/%C3%A9.png", "Café/é.png"),
        ("STRASSE.jpg", "Straße.jpg"),
        ("same.jpg", "same.jpg"),
    ],
)
def test_a_name_is_matched_in_any_spelling(channel: Path, cell: str, file: str) -> None:
    assert read(cell, channel) == [file]
    assert read(f"1.jpg; {cell};" if ";" not in cell else cell, channel)[-1] == file


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("2.jpg", "there is no file '2.jpg' in the images channel (the nearest is '2024/Mai/2.jpg')"),
        ("images/1.jpg", "(the nearest is '1.jpg')"),
        ("/home/me/images/1.jpg", "(the nearest is '1.jpg')"),
        ("2024/Mai/22.jpg", "(the nearest is '2024/Mai/2.jpg')"),
        ("noext2", "(the nearest is 'noext')"),
        ("SAME.jpg", "several files fit 'SAME.jpg', for example 'Same.jpg' and 'same.jpg'"),
        ("quite-another.jpg", "there is no file 'quite-another.jpg' in the images channel"),
        ("https://example.org/1.jpg", "a web address, which is not read"),
    ],
)
def test_a_name_without_file_is_named_with_the_nearest_file(channel: Path, cell: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read(cell, channel)
    assert message in str(caught.value)


def test_the_nearest_of_many_files_is_named(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number % 7}").mkdir(exist_ok=True)
        (tmp_path / f"{number % 7}/IMG_{number:06}.jpg").touch()
    files = ImageFiles(tmp_path)
    assert files.nearest("IMG_002998.jpg") == f"{2998 % 7}/IMG_002998.jpg"
    assert files.nearest(f"{2997 % 7}/IMG-002997.jpeg") == f"{2997 % 7}/IMG_002997.jpg"


@pytest.mark.parametrize("name", ["../secret.jpg", "%2e%2e/secret.jpg", "..\\secret.jpg", "2024/../../secret.jpg"])
def test_no_spelling_leads_out_of_the_channel(channel: Path, name: str) -> None:
    with pytest.raises(ValueError, match="there is no file") as caught:
        read(name, channel)
    assert "nearest" not in str(caught.value)


def test_links_out_of_the_channel_are_not_followed_in_any_spelling(channel: Path) -> None:
    (channel / "Link.jpg").symlink_to(channel.parent / "secret.jpg")
    (channel / "Out").symlink_to(channel.parent)
    for name in ("Link.jpg", "link.jpg", "Out/secret.jpg", "out/secret.jpg"):
        with pytest.raises(ValueError, match="there is no file"):
            read(name, channel)


def test_the_folder_is_walked_once_and_only_for_a_name_that_is_spelt_otherwise(
    channel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = []
    walk = image_files._names_below
    monkeypatch.setattr(image_files, "_names_below", lambda directory: walks.append(1) or walk(directory))
    files = ImageFiles(channel)
    list(encoded_images("1.jpg;UP.JPG;.\\1.jpg;Caf%C3%A9/é.png", files))
    assert walks == []
    list(encoded_images("up.jpg;1.JPG", files))
    assert walks == [1]


def test_a_folder_of_too_many_files_is_not_indexed(channel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_MOST_INDEXED", 3)
    assert read("2024\\Mai\\2.jpg", channel) == ["2024/Mai/2.jpg"]
    with pytest.raises(ValueError, match=r"there is no file 'up\.jpg' in the images channel$"):
        read("up.jpg", channel)
