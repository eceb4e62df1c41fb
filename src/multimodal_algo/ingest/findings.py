"""Collects what a reading of the data finds: rows that cannot be read, statistics, errors and warnings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from multimodal_algo.core.column_names import AS_WRITTEN, ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.headers import header_warnings
from multimodal_algo.core.label_checks import LabelSettings, decision_warnings, label_problems
from multimodal_algo.core.labels import amount_of, number_of
from multimodal_algo.core.schema import LABEL, FeatureSchema, Modality, modality_of
from multimodal_algo.core.task import ProblemType
from multimodal_algo.ingest.image_text import NO_IMAGES
from multimodal_algo.ingest.informed import InformedRows
from multimodal_algo.ingest.occurrences import SHOWN, Occurrences
from multimodal_algo.ingest.records import RowProblem
from multimodal_algo.ingest.statistics import Statistics, plural

_LISTED = 100
# A number with a decimal comma, as a message about a cell quotes it.
_DECIMAL_COMMA = re.compile(r"'\s*[-+]?[\d.\s]*\d,\d+\s*[%€$]?'")
NO_HEADER = "The data has no header line and no rows. Put a header line and rows into it."


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read, with its place and the reason.

    Parameters
    ----------
    file, row, line
        Name of the file, number of the row and line in the file, see `SourceRow`.
    column
        First column with a problem. Empty if the row as a whole is wrong.
    reason
        Reason in words.
    """

    file: str
    row: int
    line: int
    column: str
    reason: str


@dataclass(frozen=True)
class BadRowPolicy:
    """Whether rows that cannot be read are skipped, and how many of them.

    Parameters
    ----------
    skip
        Whether such rows are skipped and counted. Otherwise each of them is an error.
    max_fraction
        Largest share of all rows that may be skipped.
    """

    skip: bool = False
    max_fraction: float = 0.01


@dataclass(frozen=True)
class Inspection:
    """The result of reading all rows: errors, warnings, and counts of rows, classes and empty cells.

    Parameters
    ----------
    schema
        The columns. None if no header could be read.
    rows
        Number of rows that can be read.
    missing
        Number of empty cells in each feature column.
    classes
        Number of rows with each label, the largest first.
    errors, warnings
        Sentences. Training stops if there are errors.
    bad_row_count
        Number of rows that cannot be read.
    bad_rows
        First hundred rows that cannot be read.
    problem_type
        Problem type that is set, or that suits the labels.
    largest_row
        Number of characters in the largest row. 0 if cells may name image files, whose sizes are not counted.
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
        """Raise an error if the data has errors. Otherwise return the columns.

        Raises
        ------
        UserError
            There are errors. The message has the first error and the number of the other errors.
        """
        if self.errors:
            more = len(self.errors) - 1
            hint = f" ({more} more: run `multimodal-algo validate` on the data to see all.)" if more else ""
            raise UserError(self.errors[0] + hint)
        assert self.schema is not None
        return self.schema


class Findings:
    """Collects problems and statistics of the data, row by row, in bounded memory. It can be pickled.

    `inspection` returns the result.

    Parameters
    ----------
    bad_rows
        Treatment of rows that cannot be read. By default they are errors.
    problem_type
        The hyperparameter. With ``auto``, the labels of all rows decide. With ``regression``, a label that is not a
        number is a bad cell.
    min_completeness
        The hyperparameter: least share of a row's cells of one modality that must be filled.

    Attributes
    ----------
    statistics
        Statistics of the rows that can be read. `Statistics.count` adds a row.
    informed
        Finds branches (models that vote) with too few filled rows to learn from. `InformedRows.count` adds a row.
    """

    def __init__(
        self, bad_rows: BadRowPolicy | None = None, problem_type: str = "auto", min_completeness: float = 0.0
    ) -> None:
        self._policy = bad_rows or BadRowPolicy()
        self._problem_type = problem_type
        self._bad_count = 0
        self._bad: list[BadRow] = []
        self._errors: list[str] = []
        self._rows: dict[str, Occurrences] = {}
        self._headers = Occurrences()
        self._headerless = Occurrences()
        self._labels = Occurrences()
        self._cells: dict[str, Occurrences] = {}
        self.statistics = Statistics(problem_type)
        self.informed = InformedRows(min_completeness)
        self.largest_row = 0

    @property
    def has_errors(self) -> bool:
        """Whether training would stop because of what was found so far."""
        return bool(self._errors or self._headerless.count or (self._bad_count and not self._policy.skip))

    def error(self, message: str) -> None:
        """Add an error that is a whole sentence, for example about a file that cannot be read."""
        self._errors.append(message)

    def size(self, characters: int) -> None:
        """Record the number of characters of a row, to find the largest row."""
        self.largest_row = max(self.largest_row, characters)

    def bad_row(self, row: BadRow) -> None:
        """Record a row that cannot be read. The caller also records its problems, with the methods below."""
        self._bad_count += 1
        if len(self._bad) < _LISTED:
            self._bad.append(row)

    def broken_row(self, where: str, problem: RowProblem) -> None:
        """Record a row that cannot be separated into cells, or has a wrong number of them."""
        self._rows.setdefault(problem.remedy, Occurrences()).add(where, problem.reason)

    def repeated_header(self, where: str) -> None:
        """Record a row that repeats the header. This happens if files were joined."""
        self._headers.add(where)

    def headerless(self, name: str, first_file: str) -> None:
        """Record a file that begins with a row, although `first_file` begins with a header."""
        self._headerless.add(name, first_file)

    def empty_label(self, where: str) -> None:
        """Record a row without a label."""
        self._labels.add(where)

    def is_label(self, label: str) -> bool:
        """Return whether a label can be learnt from. An empty label counts too, because `empty_label` reports it."""
        return self._problem_type != "regression" or not label or number_of(label) is not None

    def bad_cell(self, where: str, column: str, reason: str) -> None:
        """Record a cell that cannot be read, with the reason."""
        self._cells.setdefault(column, Occurrences()).add(where, reason)

    def merge(self, later: Findings) -> None:
        """Add the findings of the rows that follow in the data, as if all rows had been read in one go.

        Parameters
        ----------
        later
            Findings with the same policy and problem type. They are not changed.
        """
        self._bad_count += later._bad_count
        self._bad = (self._bad + later._bad)[:_LISTED]
        self._errors += later._errors
        for remedy, occurrences in later._rows.items():
            self._rows.setdefault(remedy, Occurrences()).merge(occurrences)
        self._headers.merge(later._headers)
        self._headerless.merge(later._headerless)
        self._labels.merge(later._labels)
        for column, occurrences in later._cells.items():
            self._cells.setdefault(column, Occurrences()).merge(occurrences)
        self.statistics.merge(later.statistics)
        self.informed.merge(later.informed)
        self.largest_row = max(self.largest_row, later.largest_row)

    def inspection(
        self,
        schema: FeatureSchema | None,
        *,
        is_training: bool = True,
        labels: LabelSettings | None = None,
        names: ColumnNames = AS_WRITTEN,
    ) -> Inspection:
        """Return the result of the reading, with errors and warnings as sentences.

        Parameters
        ----------
        schema
            The columns. None if no header could be read.
        is_training
            Whether the rows are training rows. Only other rows may be few, or all of one class.
        labels
            Settings that restrict the labels. By default only the problem type does.
        names
            The user's own names of the columns, for messages.
        """
        statistics = self.statistics
        errors = [*self._errors, *self._headerless_errors(), *self._bad_row_errors()]
        warnings = [*self._bad_row_warnings(), *self._header_warnings()]
        if schema is not None:
            warnings += header_warnings(schema.columns)
            labels = labels or LabelSettings(self._problem_type)
            errors += self._statistics_errors(schema, labels if is_training else None, bool(errors))
            warnings += statistics.warnings(schema)
            if is_training and statistics.problem_type != "regression":
                warnings += decision_warnings(statistics.sorted_classes(), labels.decisions)
        elif not errors:
            errors.append(NO_HEADER)
        return Inspection(
            schema, statistics.rows, statistics.missing_cells(schema), statistics.sorted_classes(),
            tuple(map(names.in_words, errors)), tuple(map(names.in_words, warnings)),
            self._bad_count, tuple(self._bad), statistics.problem_type, self.largest_row,
        )  # fmt: skip

    def _statistics_errors(self, schema: FeatureSchema, labels: LabelSettings | None, has_errors: bool) -> list[str]:
        if labels is not None:
            if self.has_errors:
                return []
            errors = self.statistics.errors(schema) or self.informed.problems(self.statistics.rows)
            return errors or label_problems(self.statistics.sorted_classes(), schema, labels)
        if self.statistics.rows or has_errors:
            return []
        return ["The data has no row that can be read. Put rows below its header line."]

    def _headerless_errors(self) -> list[str]:
        if not self._headerless.count:
            return []
        more = f" (and {self._headerless.count - 1} more files)" if self._headerless.count > 1 else ""
        return [
            f"{self._headerless.first[0]}{more}: the first line is a row, and not the header line of "
            f"{self._headerless.example}. Put the same header line into every file."
        ]

    def _header_warnings(self) -> list[str]:
        if not self._headers.count:
            return []
        repeat, are = ("repeats", "is") if self._headers.count == 1 else ("repeat", "are")
        return [
            f"{plural(self._headers.count, 'row')} {repeat} the header, as in files that were joined, and {are} passed "
            f"over: {self._headers.first[0]}{_others(self._headers)}."
        ]

    @property
    def _are_too_many_bad(self) -> bool:
        return self._bad_count > self._policy.max_fraction * (self.statistics.rows + self._bad_count)

    def _bad_row_errors(self) -> list[str]:
        """Return the errors about rows that cannot be read.

        If such rows are skipped, the only error is that there are too many of them.
        """
        if not self._policy.skip:
            return self._row_errors()
        if not self._are_too_many_bad:
            return []
        first = self._row_errors()[0] if self._row_errors() else ""
        return [
            f"{self._bad_count} of {self.statistics.rows + self._bad_count} rows cannot be read, more than "
            f"max_bad_row_fraction ({self._policy.max_fraction:g}) allows. The first: {first}"
        ]

    def _bad_row_warnings(self) -> list[str]:
        if not self._policy.skip or not self._bad_count or self._are_too_many_bad:
            return []
        return [f"{plural(self._bad_count, 'row')} that cannot be read were skipped: {self._row_errors()[0]}"]

    def _row_errors(self) -> list[str]:
        errors = []
        for remedy, rows in self._rows.items():
            errors.append(f"{rows.first[0]}: {rows.example}{_others(rows)}. {remedy}")
        if self._labels.count:
            errors.append(
                f"{self._labels.first[0]}: the label is empty{_others(self._labels)}. Fill it or drop the row."
            )
        for column, cells in self._cells.items():
            remedy = "Fix the cell or leave it empty."
            if column == LABEL:
                remedy = "Fix it, drop the row, or set problem_type=multiclass."
                if (amount := _amount_in(cells.example)) is not None:
                    remedy = f"Write amounts as plain numbers, here {amount:.15g}."
            elif modality_of(column) is Modality.IMAGE and NO_IMAGES in cells.example:
                remedy = "Give the folder of these files as the channel: --images FOLDER. Or leave the cell empty."
            elif modality_of(column) is Modality.NUM:
                remedy = "Fix the cell, leave it empty, or rename the column to end in _cat or _text."
                if (amount := _amount_in(cells.example)) is not None:
                    remedy = f"Write amounts as plain numbers, here {amount:.15g}, or rename the column to end in _cat."
                elif _DECIMAL_COMMA.search(cells.example):
                    remedy = "Write numbers with a decimal point: 1.5, and not 1,5."
            errors.append(f"{cells.first[0]}, column {column}: {cells.example}{_others(cells)}. {remedy}")
        return errors


def _amount_in(reason: str) -> float | None:
    """Return the number of the first amount in a message about a cell, see `amount_of`. None without an amount."""
    quoted = reason.split("'")
    return amount_of(quoted[1]) if len(quoted) > 1 else None


def _others(occurrences: Occurrences) -> str:
    """Return the end of a sentence that lists where a problem occurs again, after its first place."""
    if occurrences.count == 1:
        return ""
    rest = ", ".join(where.split(", ")[-1] for where in occurrences.first[1:])
    return f" (and {occurrences.count - 1} more: {rest}{', …' if occurrences.count > SHOWN else ''})"
