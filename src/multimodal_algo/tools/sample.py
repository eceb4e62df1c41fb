"""Writes a small sample dataset with all four modalities: offers of a shop, with drawn photos."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_T = TypeVar("_T")

_FEATURES = ("title_text", "description_text", "price_num", "weight_num", "colour_cat", "maker_cat", "photo_image")
COLUMNS = ("ID", *_FEATURES, "label")
_OWN_NAMES = (
    "sku", "title", "description", "price", "weight", "colour", "maker", "listed", "photo", "category",
)  # fmt: skip
_SIDE = 128
_COLOURS = {"red": (190, 60, 50), "blue": (60, 90, 180), "green": (70, 140, 80), "grey": (130, 130, 130)}
_MAKERS = ("Åkesson", "Brown & Sons", "Casa, S.A.", "Dunmore", "Eiko")


@dataclass(frozen=True)
class _Kind:
    """The typical texts, numbers, categories and photo of the rows of one class.

    Parameters
    ----------
    titles, words
        Typical titles, and typical phrases of the description.
    price, weight
        Median price in euros and median weight in kg.
    makers
        Typical makers, as indices of `_MAKERS`.
    colours
        Typical colours, as keys of `_COLOURS`.
    draw
        Function that draws the photo.
    """

    titles: Sequence[str]
    words: Sequence[str]
    price: float
    weight: float
    makers: Sequence[int]
    colours: Sequence[str]
    draw: Callable[[ImageDraw.ImageDraw, tuple[int, int, int]], None]


@dataclass(frozen=True)
class SampleFiles:
    """Paths of a sample dataset: `train` and `test` have header and label, `test_noheader` is for batch transform."""

    train: Path
    test: Path
    test_noheader: Path


def _lamp(pen: ImageDraw.ImageDraw, colour: tuple[int, int, int]) -> None:
    pen.polygon([(44, 20), (84, 20), (100, 62), (28, 62)], fill=colour)
    pen.rectangle([60, 62, 68, 104], fill=(70, 60, 50))
    pen.ellipse([42, 100, 86, 112], fill=(70, 60, 50))


def _mug(pen: ImageDraw.ImageDraw, colour: tuple[int, int, int]) -> None:
    pen.rounded_rectangle([30, 36, 82, 104], radius=8, fill=colour)
    pen.arc([68, 50, 108, 90], 270, 90, fill=colour, width=9)


def _book(pen: ImageDraw.ImageDraw, colour: tuple[int, int, int]) -> None:
    pen.rectangle([32, 16, 96, 112], fill=colour)
    pen.rectangle([88, 20, 98, 108], fill=(240, 235, 220))
    pen.line([(42, 40), (78, 40)], fill=(240, 235, 220), width=5)


def _chair(pen: ImageDraw.ImageDraw, colour: tuple[int, int, int]) -> None:
    pen.rectangle([36, 14, 46, 112], fill=colour)
    pen.rectangle([36, 60, 92, 70], fill=colour)
    pen.rectangle([84, 66, 92, 112], fill=colour)
    pen.rectangle([40, 22, 80, 34], fill=colour)


def _carton(pen: ImageDraw.ImageDraw, _: tuple[int, int, int]) -> None:
    pen.rectangle([24, 36, 104, 104], fill=(176, 136, 90))
    pen.line([(24, 58), (104, 58)], fill=(140, 104, 66), width=4)
    pen.line([(64, 36), (64, 58)], fill=(140, 104, 66), width=4)


# Titles and phrases of all classes, so that text alone does not give the class.
_PLAIN_TITLES = ("Studio piece", "Gift idea", "New arrival", "From the catalogue")
_PLAIN_WORDS = ("new in box", "free returns", "ships in two days", "gift wrapped", "last of its kind", "12% off")

KINDS = {
    "lamp": _Kind(
        ("Reading light", "Desk light", "Bedside piece", "Studio piece"),
        ("warm glow", "switch on the cord", "linen shade", "for the desk", "E27 bulb", "brass foot"),
        45.0, 2.0, (0, 1, 3), ("grey", "green"), _lamp,
    ),
    "mug": _Kind(
        ("Coffee cup", "Tea cup", "Studio piece", "Gift idea"),
        ("holds 300 ml", "dishwasher safe", "hand-glazed", "for hot drinks", "stoneware", "a wide handle"),
        14.0, 0.4, (1, 2, 4), ("blue", "red"), _mug,
    ),
    "book": _Kind(
        ("A winter's tale", "Field guide", "Collected essays", "Gift idea"),
        ("240 pages", "second edition", "clothbound", "with a new preface", "illustrated", "for the desk"),
        22.0, 0.6, (2, 3, 4), ("red", "green"), _book,
    ),
    "chair": _Kind(
        ("Dining seat", "Workshop stool", "Studio piece", "Bedside piece"),
        ("solid beech", "stackable", "linen seat", "carries 120 kg", "some assembly", "hand-glazed legs"),
        80.0, 6.0, (0, 2, 3), ("grey", "blue"), _chair,
    ),
}  # fmt: skip


def write_sample(directory: Path, *, train_rows: int = 240, test_rows: int = 60, seed: int = 0) -> SampleFiles:
    """Write a sample dataset: ``train.csv`` and ``test.csv``, and ``test_noheader.csv`` without header and label.

    Each modality alone separates some of the classes. All modalities together separate nearly all of them. A few cells
    are empty. A few rows have no text at all. A few training descriptions have newlines, which test rows do not have.

    Parameters
    ----------
    directory
        Directory of the files, made when missing.
    train_rows, test_rows
        Number of rows of ``train.csv`` and of ``test.csv``.
    seed
        Seed of the random numbers. The same seed gives the same files.

    Returns
    -------
    SampleFiles
        Paths of the three files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    rows = [_row(number, generator) for number in range(train_rows + test_rows)]
    train, test = rows[:train_rows], rows[train_rows:]
    for row in train[5::40]:
        row[2] = row[2].replace(", ", ",\n", 1)
    files = SampleFiles(directory / "train.csv", directory / "test.csv", directory / "test_noheader.csv")
    _write(files.train, [list(COLUMNS), *train])
    _write(files.test, [list(COLUMNS), *test])
    _write(files.test_noheader, [row[:-1] for row in test])
    return files


def write_own_table(directory: Path, *, rows: int = 300, seed: int = 0) -> tuple[Path, Path]:
    """Write the rows of the sample as a shop would have them: a table with own column names, and a folder of photos.

    ``shop.csv`` has the columns ``sku``, ``title``, ``description``, ``price``, ``weight``, ``colour``, ``maker``,
    ``listed`` (a day as ``31.12.2024``), ``photo`` (the name of a file in ``photos``) and ``category``.

    Parameters
    ----------
    directory
        Directory for the table and the folder of photos. It is made if it is missing.
    rows
        Number of rows.
    seed
        Seed of the random numbers.

    Returns
    -------
    table, photos
        Paths of ``shop.csv`` and of the folder ``photos``.
    """
    photos = directory / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    table = [[*_OWN_NAMES]]
    for number in range(rows):
        *cells, photo, label = _row(number, generator)
        if photo:
            (photos / f"{cells[0]}.jpg").write_bytes(base64.b64decode(photo))
        day = date(2024, 1, 1) + timedelta(days=int(generator.integers(366)))
        table.append([*cells, f"{day:%d.%m.%Y}", f"{cells[0]}.jpg" if photo else "", label])
    _write(directory / "shop.csv", table)
    return directory / "shop.csv", photos


def _row(number: int, generator: np.random.Generator) -> list[str]:
    label = list(KINDS)[number % len(KINDS)]
    kind = KINDS[label]
    colour = _pick(generator, kind.colours if generator.random() < 0.8 else list(_COLOURS))
    maker = _MAKERS[_pick(generator, kind.makers if generator.random() < 0.85 else range(len(_MAKERS)))]
    title = _pick(generator, kind.titles if generator.random() < 0.6 else _PLAIN_TITLES)
    words = [_pick(generator, kind.words if generator.random() < 0.45 else _PLAIN_WORDS) for _ in range(2)]
    description = ", ".join(words)
    row = [
        f"{number:05d}",
        f"{title} no. {generator.integers(1, 99)}",
        f'{description}, colour "{colour}"',
        f"{kind.price * generator.lognormal(0, 0.5):.2f}",
        f"{kind.weight * generator.lognormal(0, 0.7):.3f}",
        colour,
        maker,
        _photo(kind, colour, generator),
        label,
    ]
    for position in range(1, 8):
        if generator.random() < 0.08:
            row[position] = ""
    if number % 17 == 3:
        row[1] = row[2] = ""
    return row


def _photo(kind: _Kind, colour: str, generator: np.random.Generator) -> str:
    base = _COLOURS[colour]
    shade = tuple(int(np.clip(channel + generator.integers(-25, 26), 0, 255)) for channel in base)
    background = tuple(int(value) for value in generator.integers(200, 250, size=3))
    image = Image.new("RGB", (_SIDE, _SIDE), background)
    draw = kind.draw if generator.random() < 0.8 else _carton
    draw(ImageDraw.Draw(image), (shade[0], shade[1], shade[2]))
    image = image.rotate(float(generator.uniform(-25, 25)), fillcolor=background)
    image = image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0, 1.5))))
    noise = generator.normal(0, 14, size=(_SIDE, _SIDE, 3))
    pixels = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=80)
    return base64.b64encode(encoded.getvalue()).decode("ascii")


def _pick(generator: np.random.Generator, choices: Sequence[_T]) -> _T:
    return choices[int(generator.integers(len(choices)))]


def _write(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
