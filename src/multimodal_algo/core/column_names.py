"""A user's own column names, and the names with suffixes that stand for them.

A file or a request may call a column ``price``. The rest of the code, the artifact, the log and the report call it
``price_num``, with the suffix of its modality.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL, Modality, modality_of

DROPPED = "drop"
"""The kind of columns that are not used."""
KINDS = (*(modality.value for modality in Modality), DROPPED)
"""The kinds that a column may have."""
AUTO = "auto"
"""The value of `columns` by which all kinds are found from the cells."""


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
        Names and kinds of other columns, each kind one of `KINDS`. Columns that end in a suffix need none.
    finds_kinds
        Whether the kinds of all other columns are found from their cells.
    """

    label: str = LABEL
    id: str = ID
    kinds: tuple[tuple[str, str], ...] = ()
    finds_kinds: bool = False

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
        kinds = {name: kind for name, kind in self.kinds if kind != DROPPED}
        return known | {name: name if modality_of(name) else f"{name}_{kind}" for name, kind in kinds.items()}

    @cached_property
    def dropped(self) -> frozenset[str]:
        """Own names of the columns that training ignores."""
        return frozenset(name for name, kind in self.kinds if kind == DROPPED)

    def canonical(self, name: str) -> str:
        """Return the name with suffix for an own name: ``price_num`` for ``price``. Return other names unchanged."""
        return self._known.get(name, name)

    def own(self, column: str) -> str:
        """Return the user's own name of a column: ``price`` for ``price_num``."""
        return next((name for name, known in self._known.items() if known == column), column)

    def undecided(self, header: Sequence[str]) -> list[str]:
        """Return the columns of a header whose modality is not known: neither a suffix nor a declared kind gives it."""
        known = self._known.keys() | self.dropped
        return [name for name in header if name not in known and modality_of(name) is None]

    def with_kinds(self, kinds: Mapping[str, str]) -> ColumnNames:
        """Return these names with the kinds of more columns, after which no kind has to be found from cells."""
        return ColumnNames(self.label, self.id, (*self.kinds, *kinds.items()))

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
            near = difflib.get_close_matches(missing[0], header, n=1, cutoff=0.6)
            hint = f" Is it '{near[0][:60]}'?" if near else ""
            shown = ", ".join(f"'{name[:60]}'" for name in header[:12]) + (", …" if len(header) > 12 else "")
            raise UserError(f"{where}: there is no column '{missing[0][:60]}' among {shown}.{hint}")

    @property
    def as_json(self) -> str:
        """The kinds of the columns, as JSON for the hyperparameter ``columns``."""
        return json.dumps(dict(self.kinds), ensure_ascii=False) if self.kinds else ""


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
    if kind not in KINDS:
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
