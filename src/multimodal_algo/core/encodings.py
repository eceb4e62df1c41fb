"""Guesses the encoding of text that is not UTF-8, so that an error message can name it.

Training files and the bodies of requests use the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Share of bytes at even or odd positions that are 0 in UTF-16 of a header.
_MANY_NULS = 0.3

# Encodings with two bytes beyond ASCII per character: Python's name, that of iconv, characters that are frequent in
# their texts, and the least share of them.
_PAIRS = (
    ("euc_jp", "EUC-JP", "\u3041", "\u30fe", 0.1),
    ("euc_kr", "EUC-KR", "\uac00", "\ud7a3", 0.9),
    ("gb2312", "GB18030", "\u4e00", "\u9fff", 0.5),
)
_MOST = 0.8
# Characters of East Asia stand next to each other. Misread Western letters stand alone.
_RUN = 1.5

_SIGNS = "’“”„‘–—…€«»°£"
_CYRILLIC = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъёіїєґў"
_CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýžäôľĺŕ", "áéíóöőúüű", "ăâîşţ", "čćđšž")
_WESTERN = ("àâæçéèêëîïôœùûü", "äöüß", "áéíñóúü¿¡", "ãõáâàéêíóôúç", "àèéìîòù", "æøåäöéü", "ëéïöèü")
# Encodings with one byte a character: Python's name, that of iconv, and the letters of each language that is written in
# it. The letters of Russian, Greek and Hebrew are in the order of their frequency. The first of two encodings that fit
# equally well is taken, so Windows' encodings come first.
_LATIN_SCRIPTS = (
    ("cp1252", "WINDOWS-1252", _WESTERN),
    ("cp1250", "WINDOWS-1250", _CENTRAL),
    ("cp1254", "WINDOWS-1254", ("âçğıîöşüû",)),
    ("cp1257", "WINDOWS-1257", ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž")),
    ("iso8859_2", "ISO-8859-2", _CENTRAL),
    ("mac_roman", "MACINTOSH", _WESTERN),
)
_OTHER_SCRIPTS = (
    ("cp1251", "WINDOWS-1251", (_CYRILLIC,)),
    ("cp1253", "WINDOWS-1253", ("αοιετσνηυρπκμλςωόίάέδγχήθύφβξζψώϊϋ",)),
    ("cp1255", "WINDOWS-1255", ("יוהלאמרבתשנעדקפחכטסגםןזצךץף",)),
    ("cp1256", "WINDOWS-1256", ("ابتثجحخدذرزسشصضطظعغفقكلمنهويىةءأإآؤئپچژگ،؟",)),
    ("cp874", "WINDOWS-874", ("".join(map(chr, range(0x0E01, 0x0E4F))),)),
    ("iso8859_5", "ISO-8859-5", (_CYRILLIC,)),
    ("koi8_r", "KOI8-R", (_CYRILLIC,)),
    ("cp866", "CP866", (_CYRILLIC,)),
)
# Letters of the word's other case count less, since KOI8-R and Windows-1251 differ by the case of their letters.
_OTHER_CASE = 0.5
# Russian, Greek and Hebrew have the same bytes. The frequency of their letters decides.
_FREQUENT, _BONUS = 10, 0.01
_LEAST_FIT, _CERTAIN_FIT = 0.7, 0.95


def wide_encoding(begin: bytes) -> str | None:
    """Return the name that ``iconv`` has for the encoding, if the text is in UTF-16 or UTF-32.

    Otherwise return None.
    """
    for mark, name in (
        (b"\xff\xfe\x00\x00", "UTF-32"),
        (b"\x00\x00\xfe\xff", "UTF-32"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
    ):
        if begin.startswith(mark):
            return name
    # Letters, digits and separators of a header are ASCII. In UTF-16 every second byte of them is 0.
    begin = begin[:512]
    even, odd = begin[::2], begin[1::2]
    if len(odd) > 1 and even.count(0) == 0 and odd.count(0) > _MANY_NULS * len(odd):
        return "UTF-16LE"
    return "UTF-16BE" if len(odd) > 1 and odd.count(0) == 0 and even.count(0) > _MANY_NULS * len(even) else None


def narrow_encoding(text: bytes) -> str | None:
    """Return the name that ``iconv`` has for the likely encoding of text that is not UTF-8.

    None if no encoding is likely.
    """
    runs = re.findall(rb"[\x80-\xff]+", text)
    # Letters of Latin scripts stand next to ASCII letters. Words of other scripts do not. Single signs, such as dashes,
    # stand alone in all scripts.
    latin = re.findall(rb"(?<=[A-Za-z])[\x80-\xff]+|[\x80-\xff]+(?=[A-Za-z])", text)
    words = re.findall(rb"(?<![A-Za-z\x80-\xff])[\x80-\xff]{2,}(?![A-Za-z\x80-\xff])", text)
    fit, single = _single_byte(text, _LATIN_SCRIPTS if len(latin) >= len(words) else _OTHER_SCRIPTS)
    if latin and fit >= _CERTAIN_FIT:
        return single
    return _east_asian(text, runs) or (single if fit >= _LEAST_FIT else None)


def _single_byte(text: bytes, candidates: Sequence[tuple[str, str, Sequence[str]]]) -> tuple[float, str]:
    """Return the encoding that fits the text best: how well it fits, from 0 to about 1, and the encoding's name."""
    fits = {
        name: max(_fit(_decoded(text, encoding), letters) for letters in languages)
        for encoding, name, languages in candidates
    }
    best = max(fits, key=lambda name: fits[name])
    return fits[best], best


def _east_asian(text: bytes, runs: list[bytes]) -> str | None:
    """Return the likely East Asian encoding of a text, or None.

    `runs` are its longest sequences of bytes beyond ASCII.
    """
    # Two-byte encodings of East Asia also have ASCII in second bytes, so the whole text is decoded.
    japanese = _decoded(text, "cp932")
    if _is_east_asian(japanese) and (_share(japanese, "\u3041", "\u30fe") or b"\x80" < min(runs)[:1] < b"\xa0"):
        return "SHIFT_JIS"
    if sum(map(len, runs)) < 2 * len(runs) or _is_mostly_letters(text, runs):
        return None
    if all(len(run) % 2 == 0 for run in runs):
        for encoding, name, first, last, share in _PAIRS:
            if _share(_decoded(text, encoding), first, last) > share:
                return name
    return "BIG5" if _is_east_asian(_decoded(text, "big5")) else None


def _fit(text: str, letters: str) -> float:
    """Return how well the text matches the letters of a language, from 0 to about 1.

    Only characters beyond ASCII count. Signs, such as dashes, match every language.
    """
    strange = [character for character in text if character > "\x7f" and character not in _SIGNS]
    if text and not strange:
        return 1.0
    upper = letters.upper()
    points = sum(1.0 if character in letters else _OTHER_CASE * (character in upper) for character in strange)
    points += _BONUS * sum(character in letters[:_FREQUENT] for character in strange)
    return points / len(strange) if strange else 0.0


def _decoded(text: bytes, encoding: str) -> str:
    """Return the text that the bytes spell in `encoding`. Empty if the bytes are not valid in this encoding."""
    try:
        return text.decode(encoding)
    except UnicodeDecodeError:
        return ""


def _share(text: str, first: str, last: str) -> float:
    """Return the share of the characters beyond ASCII that lie between `first` and `last` in Unicode."""
    strange = [character for character in text if character > "\x7f"]
    return sum(first <= character <= last for character in strange) / max(1, len(strange))


def _is_east_asian(text: str) -> bool:
    """Return whether most characters beyond ASCII are kana or Chinese characters, several in a row."""
    strange = re.findall(r"[^\x00-\x7f]+", text)
    is_run = sum(map(len, strange)) >= _RUN * max(1, len(strange))
    return is_run and _share(text, "\u3000", "\u9fff") + _share(text, "\uff01", "\uff9f") > _MOST


def _is_mostly_letters(text: bytes, runs: list[bytes]) -> bool:
    """Return whether most `runs`, which are sequences of bytes beyond ASCII, are one byte long.

    Accented letters and signs of Western texts are so.
    """
    return 2 * sum(len(run) == 1 for run in runs) > len(runs)
