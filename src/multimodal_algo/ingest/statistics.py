"""Statistics of the rows that can be read, with errors and warnings about the data as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from multimodal_algo.core.label_lists import lists_of_classes
from multimodal_algo.core.labels import amount_of, class_counts, detect_problem_type, number_of
from multimodal_algo.core.schema import LABEL, FeatureSchema, Modality, modality_of
from multimodal_algo.core.task import ProblemType
from multimodal_algo.core.values import are_numbers, cut_zeros, is_like_missing, near_spellings
from multimodal_algo.ingest.cells import is_missing
from multimodal_algo.ingest.occurrences import SHOWN, TRACKED_VALUES, Identities, Occurrences

MIN_ROWS = 10
FEW_ROWS_PER_CLASS = 10
# A category with more different values than this share of its filled rows does not repeat itself enough to teach.
_MOSTLY_UNIQUE = 0.5
# More values than these are not compared for likeness.
_COMPARED_VALUES = 100_000
# Labels are meant as numbers if at most this share of them are not numbers.
_FEW_STRANGE = 0.1


class Statistics:
    """Counts labels, classes, IDs and empty cells of the rows that can be read, in bounded memory. It can be pickled.

    Parameters
    ----------
    problem_type
        The hyperparameter. With ``auto``, the labels of all rows decide.

    Attributes
    ----------
    rows
        Number of rows.
    """

    def __init__(self, problem_type: str) -> None:
        self._wanted = problem_type
        self.rows = 0
        self._classes: Counter[str] = Counter()
        # The number of rows for which `rows_by_class` was computed, with its result.
        self._merged: tuple[int, Mapping[str, int]] | None = None
        self._missing: Counter[str] = Counter()
        self._values: dict[str, set[str]] = {}
        self._newlines: dict[str, Occurrences] = {}
        self._like_missing: dict[str, Occurrences] = {}
        self._ids = Identities()

    def count(
        self, where: str, label: str, identity: str | None, cells: Mapping[str, Any], with_newlines: Sequence[str]
    ) -> None:
        """Add a row to the statistics.

        Parameters
        ----------
        where
            File, row and line, for messages.
        label
            Label of the row.
        identity
            ID of the row. None without an ``ID`` column.
        cells
            Parsed cells of the feature columns.
        with_newlines
            Columns whose raw cell has a newline.
        """
        self.rows += 1
        self._classes[label] += 1
        for column, value in cells.items():
            modality = modality_of(column)
            assert modality is not None
            self._missing[column] += is_missing(modality, value)
            if modality in (Modality.CAT, Modality.TEXT) and value and is_like_missing(value):
                self._like_missing.setdefault(column, Occurrences()).add(where, value)
            if modality is Modality.CAT and value:
                values = self._values.setdefault(column, set())
                if len(values) < TRACKED_VALUES:
                    values.add(value)
        for column in with_newlines:
            self._newlines.setdefault(column, Occurrences()).add(where)
        if identity:
            self._ids.add(identity, where)

    def merge(self, later: Statistics) -> None:
        """Add the statistics of `later`, which has counted the rows that follow in the data. `later` is not changed."""
        self.rows += later.rows
        self._classes.update(later._classes)
        self._missing.update(later._missing)
        for column, new in later._values.items():
            values = self._values.setdefault(column, set())
            values.update(islice(new - values, TRACKED_VALUES - len(values)))
        for column, occurrences in later._newlines.items():
            self._newlines.setdefault(column, Occurrences()).merge(occurrences)
        for column, occurrences in later._like_missing.items():
            self._like_missing.setdefault(column, Occurrences()).merge(occurrences)
        self._ids.merge(later._ids)

    @property
    def problem_type(self) -> ProblemType:
        """The problem type that is set, or the one that suits the labels."""
        if self._wanted == "auto":
            return detect_problem_type(self.rows_by_class)
        return self._wanted  # type: ignore[return-value]

    @property
    def rows_by_class(self) -> Mapping[str, int]:
        """The number of rows of each class. Different spellings of a class are counted together."""
        if self._merged is None or self._merged[0] != self.rows:
            self._merged = self.rows, class_counts(self._classes)
        return self._merged[1]

    def sorted_classes(self) -> dict[str, int]:
        """Return the number of rows of each class, the largest first."""
        return dict(sorted(self.rows_by_class.items(), key=lambda item: (-item[1], item[0])))

    def missing_cells(self, schema: FeatureSchema | None) -> dict[str, int]:
        """Return the number of empty cells in each feature column. Empty without a schema."""
        return {column: self._missing[column] for column in schema.features} if schema else {}

    def errors(self, schema: FeatureSchema) -> list[str]:
        """Return the reasons why no model can learn from the rows, as sentences."""
        if self.rows < MIN_ROWS:
            return [f"The data has {plural(self.rows, 'row')}: training needs at least {MIN_ROWS}."]
        errors = []
        classes = self.rows_by_class
        if len(classes) == 1:
            kind = "number" if self._wanted == "regression" else "class"
            errors.append(
                f"The column 'label' holds one {kind} only ('{next(iter(classes))[:60]}'): "
                "training needs rows of at least two."
            )
        empty = [group for group in modality_groups(schema) if all(map(self._is_empty, group))]
        return errors + [_empty_columns(group) for group in empty]

    def warnings(self, schema: FeatureSchema) -> list[str]:
        """Return warnings as sentences, about labels that are hard to predict and columns that teach models nothing."""
        return [
            *self._strange_labels(),
            *self._rare_classes(),
            *self._lists_of_classes(),
            *self._spellings_of_labels(),
            *self._spellings_of_categories(),
            *self._cells_like_missing(),
            *self._unique_categories(),
            *self._cells_with_newlines(),
            *self._empty_columns(schema),
            *self._id_warnings(schema),
        ]

    def _is_empty(self, column: str) -> bool:
        return self._missing[column] == self.rows

    def _strange_labels(self) -> Iterator[str]:
        """Yield a warning if all but a few labels are numbers, so that a regression may be meant."""
        if self._wanted != "auto" or self.problem_type != "multiclass":
            return
        numbers = {label: rows for label, rows in self._classes.items() if number_of(label) is not None}
        amounts = {label: number for label in self._classes if (number := amount_of(label)) is not None}
        if len(numbers) + len(amounts) > (1 - _FEW_STRANGE) * len(self._classes) and len(amounts) > len(numbers):
            label, number = next(iter(amounts.items()))
            if detect_problem_type({repr(each): self._classes[name] for name, each in amounts.items()}) == "regression":
                yield (
                    f"column label: {len(amounts)} different amounts such as '{label[:40]}' are taken for classes. To "
                    f"predict the amount, a regression, write labels as plain numbers: {number:.15g}."
                )
            return
        strange = [label for label in self._classes if label not in numbers]
        if len(strange) > _FEW_STRANGE * len(numbers) or detect_problem_type(numbers) != "regression":
            return
        yield (
            f"column label: {len(numbers)} different numbers, but '{strange[0][:40]}'"
            f"{f' and {len(strange) - 1} more are not' if len(strange) > 1 else ' is not one'}, so all are taken for "
            "classes. Set problem_type=regression if numbers are meant."
        )

    def _rare_classes(self) -> Iterator[str]:
        if self.problem_type == "regression":
            return
        classes = self.rows_by_class
        rare = [label for label, rows in classes.items() if rows < FEW_ROWS_PER_CLASS]
        if rare:
            shown = ", ".join(f"'{label[:40]}' ({classes[label]})" for label in rare[:SHOWN])
            yield (
                f"{plural(len(rare), 'class')} with fewer than {FEW_ROWS_PER_CLASS} rows: {shown}"
                f"{', …' if len(rare) > SHOWN else ''}. They are kept, but will be predicted badly."
            )

    def _lists_of_classes(self) -> Iterator[str]:
        if self.problem_type == "regression":
            return
        if lists := lists_of_classes(classes := self.sorted_classes()):
            yield (
                f"column label: {len(lists)} of {plural(len(classes), 'class')} list several, for example "
                f"'{lists[0][:40]}'. One class a row is what this algorithm predicts, and each list counts as a class "
                "of its own. Keep the main class of each row, or train one model for each class, with the labels yes "
                "and no."
            )

    def _spellings_of_labels(self) -> Iterator[str]:
        if self.problem_type == "regression":
            return
        classes = self.sorted_classes()
        if are_numbers(self._classes):
            yield from _versions("label", self._classes)
        else:
            yield from _near("label", classes, "classes")
        if like := [label for label in classes if is_like_missing(label)]:
            shown = ", ".join(f"'{label}' ({classes[label]})" for label in like[:SHOWN])
            yield (
                f"column label: {shown}{', …' if len(like) > SHOWN else ''} count as classes. Where they stand for "
                f"missing labels, drop their rows, or set missing_values={','.join(like[:SHOWN])} and on_bad_row=skip."
            )

    def _spellings_of_categories(self) -> Iterator[str]:
        for column, different in self._values.items():
            values = sorted(islice(different, _COMPARED_VALUES))
            if are_numbers(values):
                yield from _versions(column, values)
            else:
                yield from _near(column, values, "values")

    def _cells_like_missing(self) -> Iterator[str]:
        for column, cells in self._like_missing.items():
            yield (
                f"column {column}: {plural(cells.count, 'cell')} such as '{cells.example}' (first in {cells.first[0]}) "
                f"count as values. Set missing_values={cells.example} if they stand for missing ones."
            )

    def _unique_categories(self) -> Iterator[str]:
        for column, values in self._values.items():
            filled = self.rows - self._missing[column]
            if filled >= MIN_ROWS and len(values) > _MOSTLY_UNIQUE * filled:
                yield (
                    f"column {column}: mostly unique ({len(values)} values in {filled} filled rows); such a category "
                    "teaches nothing. Drop it or rename it to end in _text."
                )

    def _cells_with_newlines(self) -> Iterator[str]:
        for column, cells in self._newlines.items():
            if column == LABEL:
                yield "column label: a label with a newline is answered with a space in its place."
            else:
                yield (
                    f"column {column}: {plural(cells.count, 'cell')} with a newline (first in {cells.first[0]}). "
                    "Legal in training, but batch transform with SplitType Line cuts such rows apart: "
                    "`multimodal-algo prepare` writes lines without."
                )

    def _empty_columns(self, schema: FeatureSchema) -> Iterator[str]:
        """Yield a warning about each empty column. `errors` reports groups in which all columns are empty."""
        for group in modality_groups(schema):
            for column in group:
                if len(group) > 1 and self.rows and self._is_empty(column):
                    yield f"column {column}: empty in every row."

    def _id_warnings(self, schema: FeatureSchema) -> Iterator[str]:
        if self._ids.repeated:
            yield f"column ID: {plural(self._ids.repeated, 'ID')} more than once (first {self._ids.first})."
        if not schema.has_id:
            yield "There is no 'ID' column: predictions can then be matched to rows by order only."


def modality_groups(schema: FeatureSchema) -> list[tuple[str, ...]]:
    """Return the columns in groups. One model reads the columns of a group.

    Texts are a group, and so are numbers and categories. Each image column is a group of its own.
    """
    groups = [schema.of(modality) for modality in (Modality.TEXT, Modality.NUM, Modality.CAT)]
    return [group for group in groups if group] + [(column,) for column in schema.of(Modality.IMAGE)]


def plural(count: int, noun: str) -> str:
    """Return a number with its noun in the right form: ``1 row``, ``2 rows``, ``2 classes``."""
    nouns = noun + ("es" if noun.endswith("s") else "s")
    return f"{count} {noun if count == 1 else nouns}"


def _near(column: str, values: Iterable[str], noun: str) -> Iterator[str]:
    """Yield a warning about values of a column that differ but might be meant as one."""
    pairs = near_spellings(values)
    if pairs:
        shown = ", ".join(f"'{a[:30]}' and '{b[:30]}'" for a, b in pairs[:SHOWN])
        yield (
            f"column {column}: {shown}{', …' if len(pairs) > SHOWN else ''} are different {noun}. Spell them alike if "
            "they mean the same."
        )


def _versions(column: str, values: Iterable[str]) -> Iterator[str]:
    """Yield a warning about values that are versions, such as ``1.10``, but are read as numbers."""
    if pair := cut_zeros(values):
        yield (
            f"column {column}: '{pair[0][:30]}' and '{pair[1][:30]}' are taken for one number. If they are versions or "
            "codes, put a letter in front of them."
        )


def _empty_columns(group: Sequence[str]) -> str:
    noun, verb, them = ("column", "is", "it") if len(group) == 1 else ("columns", "are", "them")
    columns = ", ".join(f"'{column}'" for column in group)
    return f"The {noun} {columns} ({modality_of(group[0])}) {verb} empty in every row. Fill or drop {them}."
