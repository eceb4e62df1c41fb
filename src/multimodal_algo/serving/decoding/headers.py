"""Header lines of a CSV body: they name the columns and must not get a prediction.

A line of all the model's column names is a header, in any order, with or without ID or label. It may also be in the
middle of a body that was joined from several files. On an endpoint, the fields after a header are matched by name. In
batch, ``SplitType: Line`` gives the header only to the first body, and later bodies are read by position. So a header
in another order is refused there, unless the content type says ``header=present`` for every body. Names that almost
match those of the model are refused as well, so that no misspelt header gets a prediction.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema
from multimodal_algo.serving.decoding.records import Header, Layout, Reading

# Quotes, blanks and columns that the model does not have.
_SLACK_BYTES = 200


class Headers:
    """Finds the header lines of a CSV body.

    Parameters
    ----------
    schema
        Columns of the model.
    reading
        Facts about the request.

    Attributes
    ----------
    most_bytes, mark
        For a fast check: a line that is longer than `most_bytes`, or does not contain `mark` in lower case, is not a
        header.
    """

    def __init__(self, schema: FeatureSchema, reading: Reading) -> None:
        self._schema = schema
        self._lines = Layout.of_lines(schema, id_absent=bool(reading.id_absent))
        self._is_present = reading.header is Header.PRESENT
        self._by_name = self._is_present or not reading.in_batch
        self._id_is_needed = schema.has_id and reading.in_batch and not reading.id_absent
        self._features = set(schema.features)
        self._names = names = reading.names
        self._allowed = self._features | {ID, LABEL} | names.dropped
        known = (LABEL, ID, *schema.features)
        self._nearest = {folded(name): name for name in known} | {folded(names.own(name)): name for name in known}
        self.most_bytes = 2 * len(",".join((*schema.columns, *names.dropped)).encode()) + _SLACK_BYTES
        parts = re.findall("[!-~]+", max(map(names.own, schema.features), key=len))
        self.mark = max(parts, key=len).lower().encode() if parts else b""

    def find(self, fields: Sequence[str], number: int, layout: Layout) -> Layout | None:
        """Return the order of columns (layout) that a header line names. Return None if the line is a row.

        Parameters
        ----------
        fields
            Fields of the line.
        number
            Number of the line in the body.
        layout
            Layout of the lines before this one.

        Raises
        ------
        UserError
            The line is a header, but its names or their order cannot be used.
        """
        fields = [self._names.canonical(field) for field in fields]
        if tuple(fields) == layout.columns:
            return layout
        named = set(fields)
        if self._features <= named and (named <= self._allowed or self._is_present):
            return self._layout(fields, number)
        if self._is_like_header(fields):
            raise UserError(self._difference(fields, number))
        return None

    def first(self, fields: Sequence[str]) -> Layout:
        """Return the order of columns (layout) in the first line, which is a header according to the content type.

        Raises
        ------
        UserError
            The line lacks a column of the model.
        """
        fields = [self._names.canonical(field) for field in fields]
        missing = [column for column in self._schema.features if column not in fields]
        if self._id_is_needed and ID not in fields:
            missing.insert(0, ID)
        if not missing:
            return self._layout(fields, 1)
        if any(name in missing for _, name in self._misspelt(fields)):
            raise UserError(self._difference(fields, 1))
        raise UserError(
            f"The content type says header=present, but line 1 does not name the column {self._names.own(missing[0])}. "
            "With SplitType Line only the first request has the header: leave header=present out, the training header "
            "is recognised."
        )

    def _layout(self, fields: Sequence[str], number: int) -> Layout:
        if len(set(fields)) < len(fields):
            raise UserError(f"The header in line {number} names a column twice.")
        if tuple(fields) == self._lines.columns:
            return self._lines
        if not self._by_name:
            expected = ",".join(map(self._names.own, self._lines.columns))
            raise UserError(
                f"line {number} is a header with other columns or another order than the lines of this model. In a "
                "batch transform job only the first request has the header, so lines are read by position. Write the "
                f"columns as {expected[:400]}, or send JSON Lines (application/jsonlines). No row of this request was "
                "answered."
            )
        return Layout(self._schema, fields)

    def _is_like_header(self, fields: Sequence[str]) -> bool:
        """Return whether at least half of the fields are column names of the model, so that the line is hardly a row.

        For a model with only one feature, all fields must be column names.
        """
        names = [self._nearest[text] for field in fields if (text := folded(field)) in self._nearest]
        least = len(fields) if len(self._features) == 1 else len(fields) / 2
        return len(names) >= least and not self._features.isdisjoint(names)

    def _misspelt(self, fields: Sequence[str]) -> list[tuple[str, str]]:
        """Return fields that nearly match a column name, each with this name.

        They differ in case, blanks or Unicode form.
        """
        pairs = [(field, self._nearest.get(folded(field), field)) for field in fields if field not in self._allowed]
        return [(field, name) for field, name in pairs if field != name]

    def _difference(self, fields: Sequence[str], number: int) -> str:
        """Return the error message that says how a header differs from the model's column names."""
        end = "No row of this request was answered."
        if misspelt := self._misspelt(fields):
            shown = ", ".join(f"'{field[:60]}' to '{self._names.own(name)[:60]}'" for field, name in misspelt[:6])
            return f"line {number} is a header, but its names are not those of the model: change {shown}. {end}"
        if missing := [self._names.own(column) for column in self._schema.features if column not in fields]:
            return f"line {number} is a header, but the column {missing[0][:60]} is not in it. Add it. {end}"
        unknown = next(field for field in fields if field not in self._allowed)
        return (
            f"line {number} is a header with the column '{unknown[:60]}', which the model does not have. Remove it, or "
            f"send header=present in the content type. {end}"
        )


def folded(name: str) -> str:
    """Return a name in lower case, without blanks around it and in one Unicode form, to compare different spellings."""
    return unicodedata.normalize("NFC", name).strip().casefold()
