"""Finds the language and the script of a text."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from typing import Any

# Shorter texts, such as names, do not show their language. Scripts of syllables and of words need fewer letters.
_FEWEST_LETTERS, _FEWEST_WIDE = 30, 10
_CHARACTERS = 400
_LEAST_CONFIDENCE = 0.8
# Varieties that the identifier distinguishes and networks do not. zxx is a text in no language, und an unsure answer.
_VARIETIES = {
    "ary": "ar", "arz": "ar", "grc": "el", "hbo": "he", "nb": "no", "nn": "no", "sdh": "ku", "uzs": "uz", "wuu": "zh",
    "yue": "zh", "zxx": "", "und": "",
}  # fmt: skip
# Blocks of Unicode by their first character. The name holds up to the next block.
_BLOCKS = (
    (0x0000, "Latin"), (0x0370, "Greek"), (0x0400, "Cyrillic"), (0x0530, "other"), (0x0590, "Hebrew"),
    (0x0600, "Arabic"), (0x0780, "other"), (0x0900, "Indic"), (0x0E00, "Thai"), (0x0E80, "other"), (0x1100, "Hangul"),
    (0x1200, "other"), (0x1E00, "Latin"), (0x1F00, "Greek"), (0x2000, "other"), (0x3040, "Kana"), (0x3130, "Hangul"),
    (0x3190, "Han"), (0xA000, "other"), (0xAC00, "Hangul"), (0xD7B0, "other"), (0xF900, "Han"), (0xFB00, "other"),
)  # fmt: skip
_STARTS = [start for start, _ in _BLOCKS]
_LOOKED_AT = 24

SCRIPTS = ("Latin", "Greek", "Cyrillic", "Hebrew", "Arabic", "Indic", "Thai", "Hangul", "Kana", "Han", "other")
"""The scripts of `script_of`."""


def shows_language(text: str) -> bool:
    """Return whether a text has enough letters to identify its language."""
    letters = [character for character in text[:_CHARACTERS] if character.isalpha()]
    return len(letters) >= _FEWEST_LETTERS or sum(character >= "\u0900" for character in letters) >= _FEWEST_WIDE


def language_of(text: str) -> str:
    """Return the code of a text's language, for example ``en``. It is empty if the identifier is unsure."""
    name = _identifier().classify(text[:_CHARACTERS])[0]
    return _VARIETIES.get(name, name)


def script_of(text: str) -> str:
    """Return the script of most of the first letters of a text. Return ``other`` for a text without letters."""
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else "other"
    letters = [character for character in text[: 4 * _LOOKED_AT] if character.isalpha()][:_LOOKED_AT]
    scripts = [_BLOCKS[bisect_right(_STARTS, ord(letter)) - 1][1] for letter in letters]
    return max(dict.fromkeys(scripts), key=scripts.count, default="other")


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.min_confidence = _LEAST_CONFIDENCE
    return identifier
