"""What a pass over the data found: statistics, and sentences about what would go wrong or badly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import detect_problem_type, number_of
from multimodal_algo.core.schema import LABEL, FeatureSchema, Modality, modality_of
from multimodal_algo.core.task import ProblemType
from multimodal_algo.ingest.cells import is_missing
from multimodal_algo.ingest.occurrences import SHOWN, TRACKED_VALUES, Identities, Occurrences

MIN_ROWS = 10
FEW_ROWS_PER_CLASS = 10
_MOSTLY_UNIQUE = 0.5
_LISTED = 100
_FEW_STRANGE = 0.1
NO_HEADER = "The data has no header line and no rows. Put a header line and rows into it."


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read: where it is, and the first column with a problem (empty for the row as a whole)."""

    file: str
    row: int
    line: int
    column: str
    reason: str


@dataclass(frozen=True)
class BadRowPolicy:
    """What to do with rows that cannot be read.

    Parameters
    ----------
    skip
        Whether they are dropped and counted; else any of them is an error.
    max_fraction
        Dropped rows above this share of all rows are an error.
    """

    skip: bool = False
    max_fraction: float = 0.01


@dataclass(frozen=True)
class Inspection:
    """The outcome of a scan.

    Parameters
    ----------
    schema
        The columns; None when no header could be read.
    rows
        Rows that can be read.
    missing
        Per feature column the number of empty cells.
    classes
        Per label its number of rows, largest first.
    problem_type
        What is predicted: as set, or what the labels look like.
    errors, warnings
        Sentences; training stops on any error.
    bad_row_count
        Rows that cannot be read.
    bad_rows
        The first hundred of them.
    largest_row
        Characters of the cells of the largest row; 0 where cells name files, and so tell little of its size.
    """

    schema: FeatureSchema | None
    rows: int
    missing: Mapping[str, int]
    classes: Mapping[str, int]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    bad_row_count: int = 0
    bad_rows: tuple[BadRow, ...] = ()
    problem_type: ProblemType = "multiclass"
    largest_row: int = 0

    def raise_for_errors(self) -> FeatureSchema:
        """The schema of sound data.

        Raises
        ------
        UserError
            With the first error, and the number of further ones.
        """
        if self.errors:
            more = len(self.errors) - 1
            hint = f" ({more} more: run `multimodal-algo validate` on the data to see all.)" if more else ""
            raise UserError(self.errors[0] + hint)
        assert self.schema is not None
        return self.schema


class Findings:
    """Collects what `Inspection` tells, row by row, in bounded memory. It can be pickled.

    Parameters
    ----------
    bad_rows
        What to do with rows that cannot be read; they are errors if not given.
    problem_type
        ``auto`` looks at the labels when all are there; with ``regression`` a label that is no number is a bad cell.
    """

    def __init__(self, bad_rows: BadRowPolicy | None = None, problem_type: str = "auto") -> None:
        self._policy = bad_rows or BadRowPolicy()
        self._problem_type = problem_type
        self._bad_count = 0
        self._bad: list[BadRow] = []
        self._errors: list[str] = []
        self._widths = Occurrences()
        self._labels = Occurrences()
        self._cells: dict[str, Occurrences] = {}
        self._newlines: dict[str, Occurrences] = {}
        self._values: dict[str, set[str]] = {}
        self._missing: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._ids = Identities()
        self._rows = 0
        self.largest_row = 0

    @property
    def has_errors(self) -> bool:
        """Whether anything found so far stops training."""
        return bool(self._errors or (self._bad_count and not self._policy.skip))

    def error(self, message: str) -> None:
        """Note a whole sentence, such as a file that cannot be read."""
        self._errors.append(message)

    def size(self, characters: int) -> None:
        """Note the characters of a row, where they tell how large it is."""
        self.largest_row = max(self.largest_row, characters)

    def bad_row(self, row: BadRow) -> None:
        """Note a row that cannot be read, whatever else is told about it."""
        self._bad_count += 1
        if len(self._bad) < _LISTED:
            self._bad.append(row)

    def bad_width(self, where: str, told: str) -> None:
        """Note a row with a wrong number of fields."""
        self._widths.add(where, told)

    def empty_label(self, where: str) -> None:
        """Note a row without a label."""
        self._labels.add(where)

    def is_label(self, label: str) -> bool:
        """Whether a label, if it is not empty, can be learnt from."""
        return self._problem_type != "regression" or not label or number_of(label) is not None

    def bad_cell(self, where: str, column: str, reason: str) -> None:
        """Note a cell that cannot be read."""
        self._cells.setdefault(column, Occurrences()).add(where, reason)

    def count(
        self, where: str, label: str, identity: str | None, cells: Mapping[str, Any], with_newlines: Sequence[str]
    ) -> None:
        """Add one row that can be read to the statistics; `with_newlines` are columns whose raw cell has a newline."""
        self._rows += 1
        self._classes[label] += 1
        for column, value in cells.items():
            modality = modality_of(column)
            assert modality is not None
            self._missing[column] += is_missing(modality, value)
            if modality is Modality.CAT and value:
                values = self._values.setdefault(column, set())
                if len(values) < TRACKED_VALUES:
                    values.add(value)
        for column in with_newlines:
            self._newlines.setdefault(column, Occurrences()).add(where)
        if identity:
            self._ids.add(identity, where)

    def merge(self, later: Findings) -> None:
        """Add what was found in the rows that follow these, as if one pass had read both.

        Parameters
        ----------
        later
            With the same policy and problem type; it is left as it is.
        """
        self._bad_count += later._bad_count
        self._bad = (self._bad + later._bad)[:_LISTED]
        self._errors += later._errors
        self._widths.merge(later._widths)
        self._labels.merge(later._labels)
        for ours, theirs in ((self._cells, later._cells), (self._newlines, later._newlines)):
            for column, places in theirs.items():
                ours.setdefault(column, Occurrences()).merge(places)
        for column, found in later._values.items():
            values = self._values.setdefault(column, set())
            values.update(islice(found - values, TRACKED_VALUES - len(values)))
        self._missing.update(later._missing)
        self._classes.update(later._classes)
        self._ids.merge(later._ids)
        self._rows += later._rows
        self.largest_row = max(self.largest_row, later.largest_row)

    def inspection(self, schema: FeatureSchema | None, *, is_training: bool = True) -> Inspection:
        """Everything found, as sentences; rows that are not for training may be few and of one class."""
        errors = [*self._errors]
        warnings: list[str] = []
        if not self._policy.skip:
            errors += self._row_errors()
        elif self._bad_count > self._policy.max_fraction * (self._rows + self._bad_count):
            first = self._row_errors()[0] if self._row_errors() else ""
            errors.append(
                f"{self._bad_count} of {self._rows + self._bad_count} rows cannot be read, more than "
                f"max_bad_row_fraction ({self._policy.max_fraction:g}) allows. The first: {first}"
            )
        elif self._bad_count:
            warnings.append(
                f"{_plural(self._bad_count, 'row')} that cannot be read were skipped: {self._row_errors()[0]}"
            )
        if schema is None and not errors:
            errors.append(NO_HEADER)
        if schema is not None:
            if is_training:
                errors += self._dataset_errors(schema)
            elif not self._rows and not errors:
                errors.append("The data has no row that can be read. Put rows below its header line.")
            warnings += self._warnings(schema)
        classes = dict(sorted(self._classes.items(), key=lambda item: (-item[1], item[0])))
        missing = {column: self._missing[column] for column in schema.features} if schema else {}
        return Inspection(
            schema, self._rows, missing, classes, tuple(errors), tuple(warnings), self._bad_count, tuple(self._bad),
            self._kind(), self.largest_row,
        )  # fmt: skip

    def _kind(self) -> ProblemType:
        if self._problem_type == "auto":
            return detect_problem_type(self._classes)
        return self._problem_type  # type: ignore[return-value]

    def _row_errors(self) -> list[str]:
        errors = []
        if self._widths.count:
            errors.append(
                f"{self._widths.first[0]}: {self._widths.example}{_others(self._widths)}. "
                "Give each row one field per column, and quote cells that hold commas."
            )
        if self._labels.count:
            errors.append(
                f"{self._labels.first[0]}: the label is empty{_others(self._labels)}. Fill it or drop the row."
            )
        for column, places in self._cells.items():
            remedy = "Fix the cell or leave it empty."
            if column == LABEL:
                remedy = "Fix it, drop the row, or set problem_type=multiclass."
            if modality_of(column) is Modality.NUM:
                remedy = "Fix the cell, leave it empty, or rename the column to end in _cat or _text."
            errors.append(f"{places.first[0]}, column {column}: {places.example}{_others(places)}. {remedy}")
        return errors

    def _dataset_errors(self, schema: FeatureSchema) -> list[str]:
        broken = self.has_errors
        if self._rows < MIN_ROWS and not broken:
            return [f"The data has {_plural(self._rows, 'row')}: training needs at least {MIN_ROWS}."]
        errors = []
        if len(self._classes) == 1 and not broken:
            kind = "number" if self._problem_type == "regression" else "class"
            errors.append(
                f"The column 'label' holds one {kind} only ('{next(iter(self._classes))[:60]}'): "
                "training needs rows of at least two."
            )
        for group in modality_groups(schema):
            if self._rows and not broken and all(self._missing[column] == self._rows for column in group):
                shown = ", ".join(f"'{column}'" for column in group)
                errors.append(
                    f"The {'column' if len(group) == 1 else 'columns'} {shown} ({modality_of(group[0])}) "
                    f"{'is' if len(group) == 1 else 'are'} empty in every row. Fill or drop "
                    f"{'it' if len(group) == 1 else 'them'}."
                )
        return errors

    def _strange_labels(self) -> list[str]:
        """A warning where all labels but a few are numbers of a regression."""
        if self._problem_type != "auto" or self._kind() != "multiclass":
            return []
        numbers = {label: rows for label, rows in self._classes.items() if number_of(label) is not None}
        strange = [label for label in self._classes if label not in numbers]
        if len(strange) > _FEW_STRANGE * len(numbers) or detect_problem_type(numbers) != "regression":
            return []
        return [
            f"column label: {len(numbers)} different numbers, but '{strange[0][:40]}'"
            f"{f' and {len(strange) - 1} more are' if len(strange) > 1 else ' is'} none, so all are taken for classes. "
            "Set problem_type=regression if numbers are meant."
        ]

    def _warnings(self, schema: FeatureSchema) -> list[str]:
        warnings = self._strange_labels()
        is_regression = self._kind() == "regression"
        rare = [label for label, rows in self._classes.items() if rows < FEW_ROWS_PER_CLASS and not is_regression]
        if rare:
            shown = ", ".join(f"'{label[:40]}' ({self._classes[label]})" for label in rare[:SHOWN])
            warnings.append(
                f"{_plural(len(rare), 'class')} with fewer than {FEW_ROWS_PER_CLASS} rows: {shown}"
                f"{', …' if len(rare) > SHOWN else ''}. They are kept, but will be predicted badly."
            )
        for column, values in self._values.items():
            filled = self._rows - self._missing[column]
            if filled >= MIN_ROWS and len(values) > _MOSTLY_UNIQUE * filled:
                warnings.append(
                    f"column {column}: mostly unique ({len(values)} values in {filled} filled rows); such a category "
                    "teaches nothing. Drop it or rename it to end in _text."
                )
        for column, places in self._newlines.items():
            if column != LABEL:
                warnings.append(
                    f"column {column}: {_plural(places.count, 'cell')} with a newline (first in {places.first[0]}). "
                    "Legal in training, but batch transform with SplitType Line cuts such rows apart: "
                    "`multimodal-algo prepare` writes lines without."
                )
            else:
                warnings.append("column label: a label with a newline is answered with a space in its place.")
        for group in modality_groups(schema):
            for column in group:
                if len(group) > 1 and self._rows and self._missing[column] == self._rows:
                    warnings.append(f"column {column}: empty in every row.")
        if self._ids.repeated:
            warnings.append(f"column ID: {_plural(self._ids.repeated, 'ID')} more than once (first {self._ids.first}).")
        if not schema.has_id:
            warnings.append("There is no 'ID' column: predictions can then be matched to rows by order only.")
        return warnings


def modality_groups(schema: FeatureSchema) -> list[tuple[str, ...]]:
    """The columns that one modality model sees together: text, num and cat in one group each, images one by one."""
    groups = [schema.of(modality) for modality in (Modality.TEXT, Modality.NUM, Modality.CAT)]
    return [group for group in groups if group] + [(column,) for column in schema.of(Modality.IMAGE)]


def _others(places: Occurrences) -> str:
    if places.count == 1:
        return ""
    rest = ", ".join(where.split(", ")[-1] for where in places.first[1:])
    return f" (and {places.count - 1} more: {rest}{', …' if places.count > SHOWN else ''})"


def _plural(count: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count} {noun if count == 1 else plural}"
