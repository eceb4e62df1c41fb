"""The languages of text columns are reported, with a warning where the networks do not know them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from multimodal_algo.ingest.sources import TableFormat
from multimodal_algo.networks.texts.library import E5, EMBEDDED, MINILM, UNIVERSAL
from multimodal_algo.training.languages import languages_in, languages_of, suited_networks

TEXTS = {
    "en": "The film was far too long, and the story never made any sense to me.",
    "de": "Der Film war viel zu lang, und die Geschichte ergab überhaupt keinen Sinn.",
    "ru": "Фильм был слишком длинным, и сюжет показался мне совершенно бессмысленным.",
    "ko": "영화가 너무 길었고 이야기는 전혀 이해가 되지 않았습니다.",
    "zh": "这部电影太长了，故事情节完全没有意义，我不喜欢。",
    "th": "หนังเรื่องนี้ยาวเกินไปและเนื้อเรื่องไม่สมเหตุสมผลเลย",
    "hi": "फिल्म बहुत लंबी थी और कहानी का कोई मतलब नहीं था।",
    "el": "Η ταινία ήταν πολύ μεγάλη και η ιστορία δεν είχε κανένα νόημα.",
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_language_is_found(language: str) -> None:
    assert languages_of([f"{TEXTS[language]} {number}" for number in range(12)]) == {language: 1.0}


def test_shares_are_of_the_texts_that_are_long_enough() -> None:
    texts = [TEXTS["en"]] * 30 + [TEXTS["de"]] * 10 + ["short", ""] * 50
    assert languages_of(texts) == {"en": 0.75, "de": 0.25}


def test_names_show_no_language() -> None:
    assert languages_of(["Jean Dupont", "Anna Schmidt", "B-17", ""] * 20) == {}


def test_networks_declare_languages_by_codes_of_the_identifier() -> None:
    from multimodal_algo.ingest.text_language import _identifier

    labels = set(_identifier().labels)
    for name, entry in EMBEDDED.items():
        assert len(set(entry.languages.split()) & labels) >= (1 if name == MINILM else 15)
    assert set(TEXTS) <= set(EMBEDDED["multilingual-e5-small"].languages.split())


def write_channel(directory: Path, languages: Iterable[str]) -> Path:
    """Write a training channel whose texts have these languages in equal shares."""
    with (directory / "train.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=";")
        writer.writerow(["ID", "review_text", "label"])
        for number in range(30):
            writer.writerows([[number, f"{TEXTS[language]} {number}", "good"] for language in languages])
    return directory


@pytest.mark.parametrize(
    ("networks", "languages", "suited"),
    [
        ([UNIVERSAL], ["en"], [UNIVERSAL]),
        ([UNIVERSAL], ["zh", "de"], [UNIVERSAL]),
        ([UNIVERSAL], ["hi"], [E5]),
        ([UNIVERSAL, MINILM], ["en"], [UNIVERSAL, MINILM]),
        ([UNIVERSAL, MINILM], ["ko"], [UNIVERSAL, E5]),
        ([UNIVERSAL, MINILM], ["en", "el"], [E5]),
    ],
)
def test_e5_takes_the_place_of_networks_that_do_not_know_the_languages(
    tmp_path: Path, networks: list[str], languages: list[str], suited: list[str]
) -> None:
    present = languages_in(write_channel(tmp_path, languages), TableFormat(";"))
    assert suited_networks(networks, present) == tuple(suited)


def test_networks_stay_where_no_language_can_be_seen(tmp_path: Path) -> None:
    (tmp_path / "broken.csv").write_bytes(b"a_text,label\n\xff,x\n")
    assert languages_in(tmp_path / "broken.csv", TableFormat()) == set()
    os.mkfifo(tmp_path / "train_0")
    assert languages_in(tmp_path / "train_0", TableFormat()) == set()
    assert suited_networks([MINILM], set()) == (MINILM,)
