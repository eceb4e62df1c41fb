"""A user's own column names, and the names with suffixes that stand for them.

Files and requests use the user's own names. Inside, a column has its name with the suffix of its modality:
``price`` is ``price_num`` in the artifact, the log and the report.

A column of dates becomes one number column for each of `dates.PARTS`. Files and requests have the column of dates,
and models have the number columns. The name with suffix of a column of dates ends in ``_date``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

from multimodal_algo.core.dates import PARTS, DateForm, numbers_of
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL, Modality, modality_of

DROPPED = "drop"
"""The kind of columns that are not used."""
DATE = "date"
"""The kind of columns with dates. A colon and a form of `DateForm` may follow."""
KINDS = (*(modality.value for modality in Modality), DATE, DROPPED)
"""The kinds that a column may have."""
_DATES = {f"{DATE}:{form}": form for form in DateForm}
AUTO = "auto"
"""The value of ``columns`` with which the kinds of all columns are found from the cells."""


@dataclass(frozen=True)
class ColumnNames:
    """A user's own names for the label, the ID and other columns of a table.

    Parameters
    ----------
    label
        Name of the label.
    id
        Name of the ID.
    kinds
        Names and kinds of other columns, each kind one of `KINDS`. A column that ends in a suffix needs no entry.
    finds_kinds
        Whether the kinds of all other columns are found from their cells.
    keeps_dates
        Whether columns of dates stay dates, as in lines for inference, and do not become numbers.
    """

    label: str = LABEL
    id: str = ID
    kinds: tuple[tuple[str, str], ...] = ()
    finds_kinds: bool = False
    keeps_dates: bool = False

    @classmethod
    def parse(cls, label: str, identity: str, columns: str) -> ColumnNames:
        """Read the hyperparameters ``label``, ``id`` and ``columns``.

        Parameters
        ----------
        label, identity
            Names of the label and the ID.
        columns
            Kinds as ``title=text,price=num``, as a JSON object, or ``auto``.

        Raises
        ------
        UserError
            `columns` has none of these forms, a kind is unknown, or a column has two roles.
        """
        kinds = {} if columns.strip().lower() in ("", AUTO) else _kinds(columns)
        for name, kind in kinds.items():
            _require_kind(name, kind)
        if repeated := [name for name in (label, identity) if name in kinds] or [label] * (label == identity):
            raise UserError(f"The column '{repeated[0][:60]}' has two meanings in label, id and columns. Keep one.")
        has_own = bool(columns) or (label, identity) != (LABEL, ID)
        return cls(label, identity, tuple(kinds.items()), has_own)

    @property
    def are_suffixed(self) -> bool:
        """Whether the table needs no other names, because its columns have suffixes already."""
        return (self.label, self.id) == (LABEL, ID) and not self.kinds

    @cached_property
    def _known(self) -> Mapping[str, str]:
        """The name with suffix of each own name."""
        known = {self.label: LABEL, self.id: ID}
        kinds = {name: kind.partition(":")[0] for name, kind in self.kinds if kind != DROPPED}
        return known | {name: name if modality_of(name) else f"{name}_{kind}" for name, kind in kinds.items()}

    @cached_property
    def _dates(self) -> Mapping[str, DateForm]:
        """The form of the dates in each column of dates, by the column's name with the suffix ``_date``."""
        return {self.canonical(name): _DATES[kind] for name, kind in self.kinds if kind in _DATES}

    @cached_property
    def dropped(self) -> frozenset[str]:
        """Own names of the columns that training ignores."""
        return frozenset(name for name, kind in self.kinds if kind == DROPPED)

    def canonical(self, name: str) -> str:
        """Return the name with suffix for an own name: ``price_num`` for ``price``. Return other names unchanged."""
        return self._known.get(name, name)

    def own(self, column: str) -> str:
        """Return the user's own name for a name with suffix. For a number of a date, it is the date column's name."""
        column = self._parts.get(column, column)
        return next((name for name, known in self._known.items() if known == column), column)

    @cached_property
    def _parts(self) -> Mapping[str, str]:
        """The name of the date column from which a number column comes, by the name of the number column."""
        return {part: column for column in self._dates for part in _parts_of(column)}

    def in_words(self, sentence: str) -> str:
        """Return a message about the data with the user's own names in place of names with suffixes."""
        if self.are_suffixed:
            return sentence
        own = {known: name for name, known in self._known.items() if name != known}
        # The words label and ID may mean other things than a column. A cell is in quotes, and stays as it is.
        words = [f"(?<=column ){re.escape(known)}|(?<=column '){re.escape(known)}(?=')" for known in own]
        words += [re.escape(known) for known in own if known not in (LABEL, ID)]
        pattern = re.compile(rf"(?<!\w)(?:{'|'.join(sorted(words, key=len, reverse=True))})(?!\w)")
        return pattern.sub(lambda match: own[match[0]], sentence)

    def undecided(self, header: Sequence[str]) -> list[str]:
        """Return the columns of a header without a suffix and a kind, and the columns of dates without a `DateForm`."""
        known = self._known.keys() | self.dropped
        dates = {name for name, kind in self.kinds if kind == DATE}
        return [name for name in header if name in dates or (name not in known and modality_of(name) is None)]

    def with_kinds(self, kinds: Mapping[str, str]) -> ColumnNames:
        """Return these names with the kinds of more columns added. No more kinds are then found from cells."""
        return ColumnNames(self.label, self.id, tuple((dict(self.kinds) | dict(kinds)).items()))

    def completed(self, previous: ColumnNames, header: Sequence[str]) -> ColumnNames:
        """Return these names with missing ones added from a previous model.

        Names and kinds of the previous model are added for columns of `header` to which the user gave none.
        """
        label = previous.label if LABEL not in header and self.label == LABEL else self.label
        identity = previous.id if ID not in header and self.id == ID else self.id
        given = {name for name, kind in self.kinds if kind != DATE} | {label, identity}
        kinds = {name: kind for name, kind in previous.kinds if name not in given}
        if (label, identity) == (self.label, self.id) and kinds.keys().isdisjoint(header):
            return self
        kinds = dict(self.kinds) | {name: kind for name, kind in kinds.items() if name in header}
        return replace(self, label=label, id=identity, kinds=tuple(kinds.items()), finds_kinds=True)

    @property
    def for_lines(self) -> ColumnNames:
        """The names to read tables that become lines for inference.

        These tables may lack the label and unused columns. Dates stay dates.
        """
        kinds = tuple((name, kind) for name, kind in self.kinds if kind != DROPPED)
        return replace(self, label=LABEL, kinds=kinds, keeps_dates=True)

    def grouped(self, columns: Sequence[str]) -> dict[str, list[str]]:
        """Return the columns of a model by their own name. The numbers of a date are one group."""
        groups: dict[str, list[str]] = {}
        for column in columns:
            groups.setdefault(self.own(column), []).append(column)
        return groups

    def in_tables(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return the columns that a table must have for the columns of a model: a date column replaces its numbers."""
        return tuple(dict.fromkeys(self._parts.get(column, column) for column in columns))

    def in_models(self, columns: Sequence[str]) -> list[str]:
        """Return the columns of a model for the columns of a table: number columns replace each date column."""
        dates = () if self.keeps_dates else self._dates
        return list(chain.from_iterable(_parts_of(name) if name in dates else (name,) for name in columns))

    def cells_in_models(self, columns: Sequence[str]) -> Callable[[Sequence[Any]], list[Any]] | None:
        """Return a function that turns the cells of a table's row into the cells of the model's row.

        Parameters
        ----------
        columns
            Columns of the table.

        Returns
        -------
        Callable | None
            None if no column has dates, so that cells stay as they are.
        """
        forms = [None if self.keeps_dates else self._dates.get(name) for name in columns]
        if not any(forms):
            return None

        def convert(cells: Sequence[Any]) -> list[Any]:
            converted: list[Any] = []
            for form, cell in zip(forms, cells, strict=True):
                if form is None:
                    converted.append(cell)
                else:
                    converted += numbers_of(cell, form)
            return converted

        return convert

    def check(self, header: Sequence[str], where: str) -> None:
        """Refuse a header that lacks one of the columns that the user has named.

        Raises
        ------
        UserError
            The label, or a column with a kind, is missing. The message begins with `where`, the name of the file.
        """
        named = [self.label, *([] if self.id == ID else [self.id]), *(name for name, _ in self.kinds)]
        if self.label == LABEL:
            named.remove(LABEL)  # the checks of all headers have a better message
        missing = [name for name in named if name not in header]
        if missing:
            hints = [
                f" Is {'it' if len(missing) == 1 else repr(name[:60]) + ' the column'} '{near[0][:60]}'?"
                for name in missing
                if (near := difflib.get_close_matches(name, header, n=1, cutoff=0.6))
            ]
            noun, verb = ("column", "is") if len(missing) == 1 else ("columns", "are")
            wanted = ", ".join(f"'{name[:60]}'" for name in missing)
            shown = ", ".join(f"'{name[:60]}'" for name in header[:12]) + (", …" if len(header) > 12 else "")
            raise UserError(f"{where}: there {verb} no {noun} {wanted} among {shown}.{''.join(hints)}")

    @property
    def as_json(self) -> str:
        """The kinds of the columns, as JSON for the hyperparameter ``columns``."""
        return json.dumps(dict(self.kinds), ensure_ascii=False) if self.kinds else ""


def _parts_of(column: str) -> list[str]:
    """Return the names of the number columns that a column of dates becomes."""
    stem = column.removesuffix(f"_{DATE}")
    return [f"{stem}_{part}{Modality.NUM.suffix}" for part in PARTS]


AS_WRITTEN = ColumnNames()
"""Columns with suffixes, ``label`` and ``ID``."""


def _kinds(columns: str) -> dict[str, str]:
    if columns.lstrip().startswith("{"):
        try:
            kinds = json.loads(columns)
        except ValueError:
            kinds = {"": None}
        if all(isinstance(kind, str) for kind in kinds.values()):
            return {name: kind.strip() for name, kind in kinds.items()}
    else:
        pairs = [part.rpartition("=") for part in columns.split(",") if part.strip()]
        if all(name.strip() for name, _, _ in pairs):
            return {name.strip(): kind.strip() for name, _, kind in pairs}
    raise UserError(
        f"The hyperparameter columns is '{columns[:60]}': write it as title=text,price=num or as JSON, for example "
        '{"title": "text", "price": "num"}. auto finds all kinds.'
    )


def _require_kind(name: str, kind: str) -> None:
    if kind not in KINDS and kind not in _DATES:
        near = difflib.get_close_matches(kind.lower(), KINDS, n=1)
        hint = f" Is it {near[0]}?" if near else ""
        raise UserError(
            f"The hyperparameter columns gives '{name[:60]}' the kind '{kind[:30]}': kinds are "
            f"{', '.join(KINDS[:-1])} and {KINDS[-1]}.{hint}"
        )
    modality = modality_of(name)
    if modality is not None and kind not in (modality.value, DROPPED):
        raise UserError(
            f"The hyperparameter columns gives '{name[:60]}' the kind {kind}, but its suffix says {modality.value}. "
            "Rename the column, or leave it out of columns."
        )
