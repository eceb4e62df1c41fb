"""Problems of the header lines of training files, each with a proposal. Other separators than commas are recognised."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema, Modality, modality_of

SEPARATORS = (",", ";", "\t", "|")
"""Separators of cells that can be read."""

_SUFFIXES = "Training files need a header line with 'label' and columns that end in _text, _num, _cat or _image."
_OWN_NAMES = (
    "If it is a header, set the hyperparameter label to the name of the column to predict: the kinds of the others are "
    "then found from their cells. Or name the label 'label', and let columns end in _text, _num, _cat or _image. If it "
    "is a row, put a header above it."
)
_SHOWN = 12
# Names that people give to the label, and abbreviations of the suffixes.
_LABELS = frozenset({"label", "labels", "target", "class", "y", "outcome", "response", "category"})
_ALIASES = {
    Modality.TEXT: ("text", "texts", "txt", "str", "string", "description", "desc"),
    Modality.NUM: ("num", "nums", "number", "numeric", "numerical", "nr", "int", "integer", "float", "real", "double"),
    Modality.CAT: ("cat", "cats", "category", "categorical", "categ", "enum", "bool", "flag"),
    Modality.IMAGE: ("image", "images", "img", "imgs", "pic", "picture", "photo", "jpg", "jpeg", "png"),
}
_MODALITY = {alias: modality for modality, aliases in _ALIASES.items() for alias in aliases}
_ALIAS = "|".join(sorted(_MODALITY, key=len, reverse=True))
_GAP = r"(?:[\s_.\-:/]+)"
# titleText, title-text, title_text_1, title_text1; then text_title.
_AT_END = re.compile(rf"(?P<stem>.+?)(?:{_GAP}|(?<=[a-z])(?=[A-Z]))(?P<alias>(?i:{_ALIAS}))(?P<number>{_GAP}?\d+)?")
_AT_BEGIN = re.compile(rf"(?P<alias>(?i:{_ALIAS})){_GAP}(?P<stem>.+)")
_INDEX = re.compile(r"|Unnamed: ?\d+(?:_level_\d+)?(?:\.\d+)?|__index_level_\d+__|\.\.\.\d+")
_WORDS = {",": "a comma", ";": "';'", "\t": "a tab", "|": "'|'"}
_VALUES = {";": ";", "\t": "tab", "|": "|"}
_WITHOUT_WIDTH = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))


def schema_of(header: Sequence[str], where: str) -> FeatureSchema:
    """Make the schema from the header of a training file.

    Raises
    ------
    UserError
        The header has problems. The message has all of them, and begins with `where`.
    """
    problems = header_problems(header)
    if problems:
        first, *more = problems
        sentences = [first, *(f"{sentence[0].upper()}{sentence[1:]}" for sentence in more)]
        raise UserError(f"{where}: {' '.join(sentences)}")
    return FeatureSchema(tuple(header))


def header_problems(header: Sequence[str]) -> list[str]:
    """Return the problems of a training file's header as sentences, each with a proposal.

    Empty for a correct header.
    """
    separator = other_separator(header[0]) if len(header) == 1 else None
    if separator is not None:
        return [wrong_separator(separator)]
    if not is_header(header):
        shown = ", ".join(shortened(column) for column in header[:4])
        if _are_names(header):
            return [f"no name in the first line ({shown}, …) has a suffix. {_OWN_NAMES}"]
        return [f"the first line is not a header ({shown}, …). {_SUFFIXES}"]
    problems = [*_label_problems(header), *_repeated(header)]
    problems += _suffix_problems(header)
    if not any(column not in (LABEL, ID) for column in header):
        problems.append("there is no feature column. Add columns that end in _text, _num, _cat or _image.")
    return problems


def header_warnings(header: Sequence[str]) -> list[str]:
    """Return warnings about the names of a correct header, as sentences."""
    decomposed = [column for column in header if unicodedata.normalize("NFC", column) != column]
    if not decomposed:
        return []
    return [
        f"column {shortened(decomposed[0])}: the name is in decomposed Unicode form (NFD), as macOS writes it. A "
        "client must write it in the same way. Rename the column to the composed form (NFC)."
    ]


def is_header(fields: Sequence[str]) -> bool:
    """Return whether the fields of a line are column names, maybe wrong ones, rather than the cells of a row."""
    if LABEL in fields or any(modality_of(field) for field in fields if len(field) < 200):
        return True
    names = [_cleaned(field).casefold() for field in fields if len(field) < 200]
    if len(names) < len(fields) or any(map(_is_number, names)):
        return False
    return any(name in (LABEL, "target", ID.casefold()) or modality_of(name) for name in names)


def _are_names(fields: Sequence[str]) -> bool:
    """Return whether fields may be column names without suffixes: short, distinct, and not numbers."""
    return (
        len(set(fields)) == len(fields) > 1
        and all(_cleaned(field) and len(field) < 60 for field in fields)
        and not any(map(_is_number, fields))
    )


def other_separator(line: str) -> str | None:
    """Return the separator that makes a header of `line`, for example a semicolon. None if no separator does."""
    if len(line) > 100_000:
        return None
    for separator in SEPARATORS:
        names = [name.strip('" ') for name in line.split(separator)]
        if len(names) > 1 and is_header(names) and len(max(names, key=len)) < 200:
            return separator
    return None


def wrong_separator(separator: str) -> str:
    """Return the message about a file that has another separator than expected. The caller adds the file's name."""
    looks = f"the separator of its cells looks like {_WORDS.get(separator, repr(separator))}"
    if separator == ",":
        return f"{looks}. Leave the hyperparameter csv_delimiter out."
    if separator not in _VALUES:
        return f"{looks}. Save the file with commas."
    return f"{looks}. Set the hyperparameter csv_delimiter to '{_VALUES[separator]}', or save the file with commas."


def shortened(text: str, limit: int = 60) -> str:
    """Return a text to quote in a message: at most `limit` characters, with invisible characters as escapes."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(
        character if character == " " or unicodedata.category(character)[0] not in "CZ" else _escaped(character)
        for character in text
    )


def listed(header: Sequence[str]) -> str:
    """Return the first few column names in quotes, to list them in a message."""
    shown = ", ".join(f"'{shortened(column)}'" for column in header[:_SHOWN])
    return shown + (", …" if len(header) > _SHOWN else "")


def _label_problems(header: Sequence[str]) -> list[str]:
    problems = []
    if LABEL not in header:
        problems.append(
            f"there is no 'label' column among {listed(header)}.{_nearest_label(header)} "
            "Training needs a 'label' column."
        )
    ids = [column for column in header if _cleaned(column).casefold() == ID.casefold() and column != ID]
    if ids and ID not in header:
        problems.append(f"the column '{shortened(ids[0])}' has no known suffix. Rename it to 'ID', or drop it.")
    return problems


def _nearest_label(header: Sequence[str]) -> str:
    names = {column: _cleaned(column).casefold() for column in header if not modality_of(column)}
    for column, name in names.items():
        if name == LABEL:
            return f" Rename '{shortened(column)}' to 'label'."
    likely = [column for column, name in names.items() if name in _LABELS]
    close = difflib.get_close_matches(LABEL, names.values(), n=1, cutoff=0.75)
    likely += [column for column, name in names.items() if name in close]
    return f" Rename '{shortened(likely[0])}' to 'label', if it is the label." if likely else ""


def _repeated(header: Sequence[str]) -> list[str]:
    return [
        f"the column '{shortened(column)}' occurs {header.count(column)} times. Rename or drop one."
        for column in dict.fromkeys(header)
        if header.count(column) > 1 and not _INDEX.fullmatch(_cleaned(column))
    ]


def _suffix_problems(header: Sequence[str]) -> list[str]:
    """Return sentences about the columns that have no known suffix and are not the label or the ID."""
    problems: list[str] = []
    renamed: dict[str, str] = {}
    unknown: list[str] = []
    named = _nearest_label(header) if LABEL not in header else ""
    trailing = len(header) - len(_without_trailing_blanks(header))
    for column in dict.fromkeys(header[: len(header) - trailing]):
        cleaned = _cleaned(column)
        is_correct = column in (LABEL, ID) or (modality_of(column) is not None and column == _visible(column))
        if is_correct or cleaned.casefold() in (LABEL, ID.casefold()) or f"'{shortened(column)}'" in named:
            continue
        if _INDEX.fullmatch(cleaned):
            what = (
                f"the column '{shortened(column)}'" if cleaned else f"column {header.index(column) + 1}, without name,"
            )
            problems.append(f"{what} looks like the index of pandas or R. Leave it out (in pandas: index=False).")
        elif proposal := _proposal(cleaned, header):
            renamed[column] = proposal
        else:
            unknown.append(column)
    if trailing:
        problems.append("the line ends with a separator. Remove it from the end of every line (an empty last column).")
    if renamed:
        problems.append(_renaming(renamed))
    if unknown:
        noun, has, them = ("column", "has", "it") if len(unknown) == 1 else ("columns", "have", "them")
        problems.append(
            f"the {noun} {listed(unknown)} {has} no known suffix. "
            f"Rename {them} to end in _text, _num, _cat or _image, or drop {them}."
        )
    return problems


def _renaming(renamed: dict[str, str]) -> str:
    first, proposal = next(iter(renamed.items()))
    is_suffix_known = all(modality_of(_cleaned(column)) for column in renamed)
    what = "blanks or invisible characters around its name" if is_suffix_known else "no known suffix"
    pairs = [f"'{shortened(old)}' to '{shortened(new)}'" for old, new in renamed.items()]
    if len(pairs) == 1:
        return f"the column '{shortened(first)}' has {what}. Rename it to '{shortened(proposal)}'."
    more = ", …" if len(pairs) > _SHOWN else ""
    what = what.replace("its name", "their names")
    return f"{len(pairs)} columns have {what}. Rename {', '.join(pairs[:_SHOWN])}{more}."


def _proposal(cleaned: str, header: Sequence[str]) -> str | None:
    """Return a correct name for a column that is misnamed.

    None if no name is likely, or if the header already has it.
    """
    match = None
    proposal = cleaned
    if modality_of(cleaned) is None:
        match = _AT_END.fullmatch(cleaned) or _AT_BEGIN.fullmatch(cleaned)
        if match is None:
            alias = _MODALITY.get(cleaned.casefold())
            proposal = f"{cleaned}{alias.suffix}" if alias else cleaned
        else:
            number = re.sub(r"\D", "", match.groupdict().get("number") or "")
            proposal = f"{match['stem']}{number}{_MODALITY[match['alias'].casefold()].suffix}"
    return None if modality_of(proposal) is None or proposal in header else proposal


def _without_trailing_blanks(header: Sequence[str]) -> list[str]:
    names = list(header)
    while len(names) > 1 and not _cleaned(names[-1]):
        names.pop()
    return names


def _visible(name: str) -> str:
    """Return a column name without zero-width spaces, and without blanks and invisible characters at its ends."""
    name = name.translate(_WITHOUT_WIDTH)
    start, end = 0, len(name)
    while start < end and _is_invisible(name[start]):
        start += 1
    while start < end and _is_invisible(name[end - 1]):
        end -= 1
    return name[start:end]


def _is_invisible(character: str) -> bool:
    return character.isspace() or unicodedata.category(character)[0] == "C"


def _cleaned(name: str) -> str:
    return unicodedata.normalize("NFC", _visible(name)).strip("'\"")


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
