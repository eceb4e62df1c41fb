"""Tokens of texts in any script, for TF-IDF.

Blanks separate the words of most scripts. Chinese, Japanese, Thai and their like have none, so their characters and
pairs of characters are tokens. So are emoji and other symbols.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from itertools import chain
from operator import add

import regex

_ASCII_WORDS = re.compile(r"\w+", re.ASCII)
_WORDS = re.compile(r"\w+")
# Anything but Latin, Greek, Cyrillic and Armenian letters, with the signs that texts in them have.
_BEYOND_ALPHABETS = re.compile(r"[^\0-\u02ff\u0370-\u0482\u048a-\u058f\u1e00-\u1fff\u2010-\u2027\u2030-\u203b\u20ac]")
_UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Le}"
    r"\p{New_Tai_Lue}\p{Tai_Tham}\p{Javanese}\p{Balinese}"
)
_PICTURE = r"(?![\0-\u00ff])\p{Extended_Pictographic}[\p{Emoji_Modifier}\U000e0020-\U000e007f]*"
_EMOJI = rf"\p{{Regional_Indicator}}{{2}}|[0-9#*]\u20e3|{_PICTURE}(?:\u200d{_PICTURE})*"
_HANGUL = r"[\p{Hangul}][\p{Hangul}\p{M}]*"
# Marks belong to words: they are the vowels of Indian scripts. So do joiners, which only shape letters.
_WORD = (
    rf"[[\p{{L}}\p{{N}}_]--[{_UNSPACED}\p{{Hangul}}]][[\p{{L}}\p{{M}}\p{{N}}_\u200c\u200d]--[{_UNSPACED}\p{{Hangul}}]]*"
)
_SYMBOL = r"(?![\0-\u00ff])[\p{S}\p{Co}]"
_RUNS = regex.compile(rf"{_EMOJI}|(?:[{_UNSPACED}]\p{{M}}*)+|{_HANGUL}|{_WORD}|{_SYMBOL}", regex.VERSION1)
# The first script without blanks. Runs that begin before it are words.
_FIRST_CUT = "\u0e00"
_CLUSTERS = regex.compile(r"[\p{L}\p{N}]\p{M}*")
_PICTURES = regex.compile(r"\p{Extended_Pictographic}")
_IS_CUT = regex.compile(rf"[{_UNSPACED}\p{{Hangul}}]", regex.VERSION1)
_IS_HANGUL = regex.compile(r"\p{Hangul}")
_SELECTORS = "\ufe0e\ufe0f"
# A longer part without blanks is not text. Its pieces would take many times its memory.
_LONGEST_WORD = 10_000


class Tokens(StrEnum):
    """The two kinds of tokens: words, and pieces of words."""

    WORDS = "words"
    """See `tokens_of`."""
    PIECES = "pieces"
    """Pieces of the parts between blanks, see `pieces_of`."""


def tokens_in(text: str, kind: Tokens) -> Iterable[str]:
    """Return the tokens of a text: words or pieces of words, as `kind` says."""
    if kind is Tokens.WORDS:
        return tokens_of(text)
    return chain.from_iterable(map(pieces_of, normalised(text).split()))


def normalised(text: str) -> str:
    """Return a text in lower case and in Unicode's form NFKC, so that equal words have one spelling.

    The characters that select the style of an emoji are removed.
    """
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).lower()
    for selector in _SELECTORS:  # many times faster than `str.translate`, which keeps other threads waiting
        text = text.replace(selector, "")
    return text


def tokens_of(text: str) -> list[str]:
    """Return the words of a text in any script.

    Without blanks, single characters and their pairs take the place of words.

    Examples
    --------
    >>> tokens_of("Très bon, 5 €")
    ['très', 'bon', '5']
    >>> tokens_of("東京都")
    ['東', '京', '都', '東京', '京都']
    >>> tokens_of("good👍🏽")
    ['good', '👍🏽', '👍']
    """
    if text.isascii():
        return _ASCII_WORDS.findall(text.lower())
    text = normalised(text)
    if not _BEYOND_ALPHABETS.search(text):
        return _WORDS.findall(text)
    tokens: list[str] = []
    for run in _RUNS.findall(text):
        if len(run) == 1 or run[0] < _FIRST_CUT:
            tokens.append(run)
        else:
            _add_parts(run, tokens)
    return tokens


def _add_parts(run: str, tokens: list[str]) -> None:
    """Add the tokens of one run of characters: an emoji, a word, or characters of a script without blanks."""
    if not _IS_CUT.match(run):
        tokens.append(run)
        # A skin tone, or a person in a group, is a variant: the emoji that it is made of are tokens too.
        tokens.extend(_PICTURES.findall(run))
        return
    clusters = list(run) if run.isalnum() else _CLUSTERS.findall(run)
    if _IS_HANGUL.match(run):
        tokens.append(run)  # Korean has blanks between words, and endings at the words
    tokens.extend(clusters)
    tokens.extend(map(add, clusters, clusters[1:]))


def pieces_of(word: str) -> list[str]:
    """Return all pieces of a word, 2 to 5 characters long. A blank marks each end of the word.

    Examples
    --------
    >>> pieces_of("ab")
    [' a', 'ab', 'b ', ' ab', 'ab ', ' ab ']
    """
    padded = f" {word[:_LONGEST_WORD]} "
    size = len(padded)
    return [padded[start : start + n] for n in range(2, min(5, size) + 1) for start in range(size - n + 1)]
