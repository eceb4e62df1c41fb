"""One spelling for each value of a category or label, whatever program wrote it.

Training and serving share these rules.

White space at the ends, the Unicode form, and the spelling of booleans and of timestamps never matter. In a column of
numbers, the spelling of a number does not matter either: `1`, `1.0` and `1e0` are one value. `01` is a code, not a
number. Values that may differ in meaning stay apart: case, blanks inside, characters that look alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from decimal import Context
from functools import lru_cache

# `str.strip` does not know the characters without width: byte order mark, zero-width space and joiner, direction marks.
_INVISIBLE = "\ufeff\u200b\u2060\u200e\u200f"
_BOOLEANS = frozenset({"true", "false"})
_NUMBER = re.compile(r"([+-]?)(?:(\d+)\.?(\d*)|\.(\d+))([eE][+-]?\d{1,4})?", re.ASCII)
_CODE = re.compile(r"[+-]?0\d", re.ASCII)
_LONGEST_NUMBER = 60
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_EXACT = Context(prec=400)
# What libraries write for a missing number where they make text of it.
_NULLS = frozenset({"NaN", "nan", "NaT", "<NA>"})
# What people write for a missing value, and what may be a value as well.
_LIKE_MISSING = frozenset(
    {
        "na", "n/a", "#n/a", "n.a.", "n.a", "#na", "#null!", "null", "none", "nil", "nan", "nat", "<na>", "<null>",
        "-", "--", "---", "?", ".", "\\n", "-nan", "1.#qnan", "(null)", "[null]", "(blank)",
    }
)  # fmt: skip
_LONGEST_MISSING = max(map(len, _LIKE_MISSING))
# Letters of other scripts, and signs, that look like a Latin letter or a plain sign.
_LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕкмтвнАВЕКМНОРСТУХІЈЅοανρτικΑΒΕΖΗΙΚΜΝΟΡΤΥΧ‐‑‒–—―−‘’‛′`´“”„″",
    "aeopcyxijskmtbhABEKMHOPCTYXIJSoavptikABEZHIKMNOPTYX-------''''''\"\"\"\"",
)


def trimmed(text: str) -> str:
    """Return a text in the Unicode form NFC, without white space and invisible characters at its ends."""
    text = text.strip()
    if text.isascii():
        return text
    while text and (text[0] in _INVISIBLE or text[-1] in _INVISIBLE):
        text = text.strip(_INVISIBLE).strip()
    return unicodedata.normalize("NFC", text)


def category_value(text: str) -> str:
    """Return the one spelling of a cell of a category, if other cells of the column need not be known for it.

    Booleans become ``true`` and ``false``. Timestamps become ``2024-01-02 03:04:05``, with a fraction and a zone if
    they have one, and ``2024-01-02`` at midnight without a zone. The spelling of numbers depends on the other cells,
    see `in_number_column`.
    """
    text = trimmed(text)
    if len(text) in (4, 5) and (lowered := text.lower()) in _BOOLEANS:
        return lowered
    if len(text) >= 19 and text[4] == "-" and (match := _TIMESTAMP.fullmatch(text)):
        return _timestamp(match)
    return text


def is_like_missing(text: str) -> bool:
    """Return whether a text is one that people write for a missing value, for example ``N/A``."""
    return len(text) <= _LONGEST_MISSING and text.lower() in _LIKE_MISSING


@lru_cache(maxsize=100_000)
def number_value(text: str) -> str | None:
    """Return the one spelling of the number that a text spells, exact to the last digit.

    None for other texts and for ``01``.
    """
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if match is None or _CODE.match(text):
        return None
    sign, whole, decimals, only_decimals, exponent = match.groups()
    if exponent is None:
        decimals = (decimals or only_decimals or "").rstrip("0")
        plain = f"{whole or '0'}.{decimals}" if decimals else whole or "0"
        return f"-{plain}" if sign == "-" and plain != "0" else plain
    number = _EXACT.normalize(_EXACT.create_decimal(text))
    if not number:
        return "0"
    return f"{number:f}" if -_LONGEST_NUMBER < number.adjusted() < _LONGEST_NUMBER else str(number)


def are_numbers(values: Iterable[str]) -> bool:
    """Return whether all values of a column are numbers, so that the spelling of a number does not matter in it.

    Parameters
    ----------
    values
        Values as `category_value` spells them, in any order. Missing values (empty or ``NaN``) and codes such as ``01``
        are not looked at.
    """
    has_numbers = False
    for value in values:
        if number_value(value) is not None:
            has_numbers = True
        elif value and value not in _NULLS and not is_code(value):
            return False
    return has_numbers


def is_code(value: str) -> bool:
    """Return whether a value of digits is a code and not a number: it begins with a zero, as ``01`` does."""
    return bool(_CODE.match(value)) and bool(_NUMBER.fullmatch(value))


def in_number_column(value: str) -> str:
    """Return the one spelling of a value in a column of numbers. ``NaN`` counts as missing.

    `value` is spelled as `category_value` does it.
    """
    return number_value(value) or ("" if value in _NULLS else value)


def classes_of(counts: Mapping[str, int], classes: Collection[str] = ()) -> dict[str, str]:
    """Return the class of each label.

    Labels that spell the same value are one class, named by its most frequent spelling.

    Parameters
    ----------
    counts
        Number of rows of each label. Labels have no white space at their ends.
    classes
        Names of classes that exist already, for example in the previous model. These names stay.
    """
    key_of = label_keys((*counts, *classes))
    most: dict[str, str] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        most.setdefault(key_of[label], label)
    most.update((key_of[name], name) for name in classes)
    return {label: most[key_of[label]] for label in counts}


def label_keys(labels: Iterable[str], are_like: Iterable[str] | None = None) -> dict[str, str]:
    """Return a key for each label. Labels that spell the same value have the same key.

    ``1`` and ``1.0`` are the same value only if all labels are numbers. By default `labels` decide this. Otherwise the
    keys `are_like` do.
    """
    keys = {label: category_value(label) for label in labels}
    if are_numbers(keys.values() if are_like is None else are_like):
        return {label: in_number_column(key) for label, key in keys.items()}
    return keys


def rows_by_class(counts: Mapping[str, int], class_of: Mapping[str, str] | None = None) -> Counter[str]:
    """Return the number of rows of each class, from `counts`, the number of rows of each label.

    `class_of` is the result of `classes_of`.
    """
    class_of = classes_of(counts) if class_of is None else class_of
    rows: Counter[str] = Counter()
    for label, count in counts.items():
        rows[class_of[label]] += count
    return rows


def near_spellings(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of different values that might be meant as one.

    They differ only in case, in blanks or in characters that look alike. Or both are the same number in a column that
    also has other values.
    """
    first: dict[str, str] = {}
    pairs = []
    for value in values:
        key = _loose(value)
        if first.setdefault(key, value) != value:
            pairs.append((first[key], value))
    return pairs


def cut_zeros(values: Iterable[str]) -> tuple[str, str] | None:
    """Return two values that are one number but may be two versions, such as ``1.1`` and ``1.10``.

    None if there are no such values.
    """
    first: dict[str, str] = {}
    for value in values:
        whole, _, decimals = value.partition(".")
        if not decimals.isdigit() or not decimals.strip("0"):
            continue
        key = f"{whole}.{decimals.rstrip('0')}"
        if first.setdefault(key, value) != value:
            return first[key], value
    return None


def _loose(value: str) -> str:
    number = number_value(value)
    if number is not None:
        return number
    text = unicodedata.normalize("NFKC", value).translate(_LOOK_ALIKES).casefold()
    return "".join(text.split())


def _timestamp(match: re.Match[str]) -> str:
    date, clock, fraction, zone = match.groups()
    fraction = (fraction or "").rstrip("0")
    if zone:
        zone = "+00:00" if zone == "Z" else f"{zone[:3]}:{zone[-2:]}"
    if clock == "00:00:00" and not fraction and not zone:
        return str(date)
    return f"{date} {clock}" + (f".{fraction}" if fraction else "") + (zone or "")
