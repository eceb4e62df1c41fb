"""Reads predictions from any file that the project writes, and matches them with the rows that they belong to."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from multimodal_algo.config.inference import Field, on_one_line
from multimodal_algo.core.column_names import AS_WRITTEN, ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL
from multimodal_algo.core.values import category_value, in_number_column
from multimodal_algo.ingest.sources import Source, TableFormat, read_rows

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

_PREDICTED, _PROBABILITY = Field.PREDICTED_LABEL.heading, Field.PROBABILITY.heading
_PROBABILITIES, _LABELS = Field.PROBABILITIES.heading, Field.LABELS.heading
# The first columns of training's predictions.csv, which has its rows in an order of its own.
_REPORT = [ID, LABEL, _PREDICTED]
# Keys of JSON that hold answers: the body of a JSON answer, and the answer in a record that the platform has joined.
_HOLDERS = ("predictions", "SageMakerOutput")
_COMPARED = 50
_BLANKS = re.compile(r"\s*")


@dataclass(frozen=True)
class Truth:
    """A file with the true label of each row, with which predictions are compared.

    Parameters
    ----------
    path
        The file.
    header
        The column names of the file.
    rows
        The cells of each row.
    """

    path: Path
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @classmethod
    def read(cls, path: Path, names: ColumnNames = AS_WRITTEN) -> Truth:
        """Read a file of rows with a header. `names` has the user's own names of the label and the ID column.

        Raises
        ------
        UserError
            The file has no label.
        """
        source = Source(path, path.name, table=TableFormat(names=names))
        header, *rows = [row.fields for row in read_rows(source)] or [[]]
        if LABEL not in header:
            raise UserError(f"{path}: there is no '{LABEL}' column to compare with. Give a file that has one.")
        return cls(path, header, rows)

    @cached_property
    def labels(self) -> list[str]:
        """The label of each row."""
        return self._column(LABEL)

    @cached_property
    def ids(self) -> list[str] | None:
        """The ID of each row. None if the file has no ID column."""
        return self._column(ID) if ID in self.header else None

    def inputs(self, row: int) -> list[str]:
        """Return the cells of a row without the label, as a line of an inference request has them."""
        cells = zip(self.header, self.rows[row], strict=False)
        return [on_one_line(str(cell)).strip() for name, cell in cells if name != LABEL]

    def _column(self, name: str) -> list[str]:
        number = self.header.index(name)
        return [str(row[number]) if number < len(row) else "" for row in self.rows]


@dataclass(frozen=True)
class Answers:
    """The predictions in a file.

    Parameters
    ----------
    labels
        Predicted label of each answer. Empty if the row could not be read.
    ids
        ID of each answer. None if answers have no ID.
    with_probability
        Whether answers have probabilities, so that the labels are classes.
    with_error
        Whether answers have the error of a predicted number. Then they are from a regression.
    in_order
        Whether there is one answer for each row, in the order of the rows.
    """

    labels: list[str]
    ids: list[str] | None
    with_probability: bool
    in_order: bool = True
    with_error: bool = False


def canonical(text: str, *, by_value: bool = True) -> str:
    """Return one spelling for all spellings of a label or an ID, so that they can be compared. See `core.values`.

    Parameters
    ----------
    text
        The label or ID.
    by_value
        Whether ``1``, ``1.0`` and ``1e0`` are the same. ``01`` always differs from them.
    """
    value = category_value(on_one_line(text))  # answers have no newlines
    return in_number_column(value) if by_value else value


def read_answers(path: Path, truth: Truth) -> Answers:
    """Read predictions: CSV with a header line or without, JSON Lines, JSON, or training's ``predictions.csv``.

    An output file in which each answer follows its input record (JoinSource) is read too.

    Raises
    ------
    UserError
        There are more or fewer answers than rows, or it is not clear which field is the predicted label.
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        text = stream.read()
    if text.lstrip()[:1] in ("{", "["):
        return _of_objects(list(_objects(text, path)), path, truth)
    # The SDK's local mode ends the answers of each payload with a blank line. An answer is never blank.
    lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    header = lines[0] if lines else []
    if not {_PREDICTED, _PROBABILITIES} & set(header):
        return _of_lines(lines, path, truth)
    # The platform puts the answers of several payloads together, each with a header if the input had one.
    objects = [_named(header, line) for line in lines if line != header]
    if header[: len(_REPORT)] == _REPORT:
        answers = _answers(objects, path)
        return Answers(
            answers.labels, answers.ids, answers.with_probability, in_order=False, with_error="error" in header
        )
    return _of_objects(objects, path, truth)


def _named(header: Sequence[str], line: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = dict(zip(header, line, strict=False))
    for name in (_PROBABILITIES, _LABELS):
        if values.get(name):
            values[name] = json.loads(values[name])
    return values


def _objects(text: str, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the answers in a JSON text. The text may be several JSON values one after the other."""
    decoder, position = json.JSONDecoder(), _after_blanks(text, 0)
    while position < len(text):
        try:
            value, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}, line {error.lineno}: this is not JSON ({error.msg}). Give the file as written."
            ) from None
        yield from _answers_in(value)
        position = _after_blanks(text, end)


def _after_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    assert match is not None
    return match.end()


def _answers_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for member in value:
            yield from _answers_in(member)
    elif isinstance(value, dict):
        holder = next((name for name in _HOLDERS if name in value), None)
        if holder is None:
            yield value
        else:
            yield from _answers_in(value[holder])


def _of_objects(objects: list[dict[str, Any]], path: Path, truth: Truth) -> Answers:
    _check_count(len(objects), path, truth)
    return _answers(objects, path)


def _answers(objects: list[dict[str, Any]], path: Path) -> Answers:
    names = list(dict.fromkeys(name for entry in objects for name in entry))
    if _PREDICTED not in names and not {_PROBABILITIES, _LABELS} <= set(names):
        raise UserError(
            f"{path} has the fields {', '.join(names)[:60]}, but not {_PREDICTED}. Add it to inference_output, and "
            "transform again."
        )
    ids = [_text(entry.get(ID)) for entry in objects] if ID in names else None
    return Answers([_label(entry) for entry in objects], ids, bool({_PROBABILITY, _PROBABILITIES} & set(names)))


def _label(answer: dict[str, Any]) -> str:
    """Return the predicted label of an answer. If it only has probabilities, return the most probable label."""
    if _PREDICTED in answer or not answer.get(_PROBABILITIES):
        return _text(answer.get(_PREDICTED))
    probabilities = answer[_PROBABILITIES]
    return _text(answer[_LABELS][probabilities.index(max(probabilities))])


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


def _of_lines(lines: list[list[str]], path: Path, truth: Truth) -> Answers:
    """Return the answers in CSV lines without a header, with the default fields: ID, label, probability, best guess."""
    _check_count(len(lines), path, truth)
    widths = sorted({len(line) for line in lines})
    lines = _without_inputs(lines, widths, truth)
    width = max((len(line) for line in lines), default=1)
    ids = [line[0] for line in lines] if _has_ids(lines, width, truth) else None
    values = lines if ids is None else [line[1:] for line in lines]
    width -= ids is not None
    is_default = len(widths) <= 1 and (
        width == 1 or (width == 2 and _are_probabilities(values, 1)) or _have_guess(values)
    )
    if not is_default:
        raise UserError(
            f"{path}: it cannot be known which field of a line is the predicted label. Transform again with a header "
            f"line in the input, or with Accept application/jsonlines, so that the fields have names."
        )
    return Answers([line[0] for line in values], ids, width > 1)


def _have_guess(lines: list[list[str]]) -> bool:
    """Return whether each line has a label, a probability and a best guess.

    The label and the best guess differ only in rows that are left to a person, and all of these have the same label.
    """
    if any(len(line) != 3 for line in lines) or not _are_probabilities(lines, 1):
        return False
    return len({line[0] for line in lines if line[0] != line[2]}) <= 1


def _without_inputs(lines: list[list[str]], widths: Sequence[int], truth: Truth) -> list[list[str]]:
    """Remove the input record in front of each answer, which a batch transform with JoinSource=Input has put there."""
    width = len(truth.header) - 1
    if not lines or widths[0] <= width:
        return lines
    compared = range(0, len(lines), max(1, len(lines) // _COMPARED))
    is_joined = all([cell.strip() for cell in lines[row][:width]] == truth.inputs(row) for row in compared)
    return [line[width:] for line in lines] if is_joined else lines


def _has_ids(lines: list[list[str]], width: int, truth: Truth) -> bool:
    """Return whether the first field of a line is the ID of its row, or should be."""
    if truth.ids is None or width == 1 or _have_guess(lines):
        return False
    same = sum(canonical(line[0]) == canonical(known) for line, known in zip(lines, truth.ids, strict=True))
    if width != 2 or 2 * same >= len(lines):
        return True
    labels = {canonical(label) for label in truth.labels}
    begin_with_label = any(canonical(line[0]) in labels for line in lines)
    return not begin_with_label and not _are_probabilities(lines, 0)


def _are_probabilities(lines: list[list[str]], field: int) -> bool:
    """Return whether field number `field` is a probability or empty in every line."""
    try:
        return all(not line[field] or 0 <= float(line[field]) <= 1 for line in lines)
    except (ValueError, IndexError):
        return False


def _check_count(answers: int, path: Path, truth: Truth) -> None:
    if answers != len(truth.rows):
        raise UserError(
            f"{path} has {answers} lines, {truth.path} has {len(truth.rows)} rows: they do not belong together."
        )
