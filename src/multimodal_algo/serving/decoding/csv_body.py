r"""CSV bodies become records (rows), and half a row never gets a prediction.

With ``SplitType: Line`` the platform cuts a file at every ``\n``, even inside a quoted cell. So a body may begin or end
with half a row. These rules separate the records:

- A cell is quoted only if it begins with a quote. A quote elsewhere is a letter, for example in ``27" monitor``.
- If a line does not close a quoted cell, the next lines continue this cell, if all of them together give one row with
  the right number of fields. If there are two such lines, and each is also a row of its own with numbers in the right
  places, both readings are possible, and the body is refused. Three or more such lines are separate rows.
- If the lines cannot be joined, but the line is surely not half a torn row, it is a bad row, and the lines around it
  are read. It is surely not torn if its numbers are in the right places, or if the lines up to the next quote are rows.
  The only line of a body is also a bad row, if no other body can hold its other half.
- Otherwise the body is refused, because the rest of the torn cell may look like a row.

Lines end with LF, CRLF, or CR alone. A carriage return outside quotes that does not separate rows makes a bad row.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.serving.decoding.csv_cells import (
    BACKSLASH,
    CarriageReturn,
    NotARow,
    OpenQuote,
    cut_at_carriage_returns,
    fields_of,
    is_number,
    joined_width,
    stripped,
    structure_of,
)
from multimodal_algo.serving.decoding.encodings import BOM, not_utf8, refuse_another_encoding
from multimodal_algo.serving.decoding.headers import Headers
from multimodal_algo.serving.decoding.records import Header, Layout, Reading, Record

# Times that all lines may be looked at in search of the ends of torn cells.
_MOST_SEARCHES = 4
_NOT_ANSWERED = "No row of this request was answered."


def read_csv(body: bytes, schema: FeatureSchema, reading: Reading) -> list[Record]:
    """Return the records (rows) of a CSV body in UTF-8.

    Raises
    ------
    UserError
        The body cannot be separated into records, all of it is in another encoding, or its header lacks columns.
    """
    return _CsvBody(body, schema, reading).records()


class _CsvBody:
    """The lines of a CSV body. They are read one after the other into records."""

    def __init__(self, body: bytes, schema: FeatureSchema, reading: Reading) -> None:
        self._lines = body.split(b"\n")
        if not self._lines[-1]:
            self._lines.pop()
        self._reading = reading
        self._headers = Headers(schema, reading)
        self._finds_headers = reading.header is not Header.ABSENT
        self._layout = Layout.of_lines(schema, id_absent=bool(reading.id_absent))
        self._records: list[Record] = []
        self._not_utf8 = 0
        self._searched = 0
        self._open_until = self._broken_at = 0

    def records(self) -> list[Record]:
        """Read all lines, and return the records in order."""
        lines = self._lines
        finds_headers = self._finds_headers
        mark, most_bytes = self._headers.mark, self._headers.most_bytes
        index = 0
        if self._reading.header is Header.PRESENT and lines:
            most_bytes = max(most_bytes, 2 * len(lines[0]))
            index = self._announced_header()
        while index < len(lines):
            line = lines[index]
            if finds_headers and len(line) <= most_bytes and mark in line.lower() and self._is_header(line, index):
                most_bytes = max(most_bytes, 2 * len(line))
                index += 1
                continue
            index = self._read(line, index)
        if self._not_utf8:
            refuse_another_encoding(part for line in lines for part in line.split(b"\r"))
        return self._records

    def _announced_header(self) -> int:
        """Read the header in the first line, which the content type has announced.

        Return the index of the next line.
        """
        first, rest = self._lines[0], []
        if b"\r" in first.rstrip(b"\r"):
            first, *rest = first.split(b"\r")
        try:
            fields = fields_of(stripped(first).decode("utf-8"))
        except ValueError:
            fields = []
        self._layout = self._headers.first(fields)
        self._records.append(Record(1, is_header=True))
        if rest:
            # The lines of a body that ends them with CR are read after the header.
            self._lines[0] = b"\r".join(rest)
            return 0
        return 1

    def _is_header(self, line: bytes, index: int) -> bool:
        """Return whether the line is a header. If it is, read it."""
        try:
            fields = fields_of(stripped(line).decode("utf-8"))
        except ValueError:
            return False
        layout = self._headers.find(fields, index + 1, self._layout)
        if layout is None:
            return False
        self._layout = layout
        self._records.append(Record(index + 1, is_header=True))
        return True

    def _read(self, line: bytes, index: int) -> int:
        """Read the record that begins with this line. Return the index of the line after the record."""
        if line.startswith(BOM):  # joined parts each begin with a mark
            self._lines[index] = line = line.removeprefix(BOM)
        try:
            text = line.decode("utf-8")
            fields = fields_of(text.rstrip("\r"))
        except UnicodeDecodeError as error:
            return self._read_other_encoding(line, index, error)
        except OpenQuote as opened:
            return self._read_open(index, opened.args[0])
        except CarriageReturn as error:
            self._read_carriage_returns(line, index, str(error))
        except NotARow as error:
            letters = text.split(",")
            # Some writers do not double quotes. Their rows may be torn too.
            if len(letters) < self._layout.width and text.replace('\\"', "").count('"') % 2:
                self._broken_at = 0
                if self._is_torn(index, letters):
                    raise self._torn(index) from None
            self._add_bad(index, str(error), () if text.startswith('"') else letters)
        else:
            self._add(index, fields, line)
        return index + 1

    def _add(self, index: int, fields: Sequence[str], line: bytes) -> None:
        layout = self._layout
        if len(fields) == layout.width:
            record = Record(index + 1, layout.cells(fields), identity=layout.identity(fields))
        elif len(fields) == 1 and not fields[0]:
            record = Record(index + 1, problem="a blank line", is_blank=True)
        else:
            problem = layout.wrong_width(fields)
            if b'\\"' in line:
                problem += BACKSLASH
            record = Record(index + 1, problem=problem, identity=layout.identity(fields))
        self._records.append(record)

    def _add_bad(self, index: int, problem: str, fields: Sequence[str] = ()) -> None:
        identity = self._layout.identity(fields) if fields else ""
        self._records.append(Record(index + 1, problem=problem, identity=identity))

    def _read_other_encoding(self, line: bytes, index: int, error: UnicodeDecodeError) -> int:
        """Read a line that is not UTF-8 as a bad row, with all lines that continue it.

        Return the index of the next line.
        """
        self._not_utf8 += 1
        before = len(self._records)
        end = index + 1
        try:
            fields_of(structure_of(line))
        except OpenQuote as opened:
            end = self._read_open(index, opened.args[0])
        except CarriageReturn as problem:
            self._read_carriage_returns(line, index, str(problem))
            return end
        except NotARow:
            pass
        self._records[before:] = [Record(index + 1, problem=not_utf8(line, error))]
        return end

    def _read_open(self, index: int, letters: Sequence[str]) -> int:
        """Read a line whose last cell begins with a quote and is not closed. Return the index of the next line.

        Parameters
        ----------
        index
            Index of the line.
        letters
            Fields of the line, if that quote is only a letter.
        """
        end = self._end_of_row(index)
        if end is not None:
            record = b"\n".join(self._lines[index:end])
            try:
                self._add(index, fields_of(record.decode("utf-8").rstrip("\r")), record)
            except UnicodeDecodeError as error:
                self._not_utf8 += 1
                self._add_bad(index, not_utf8(record, error))
            return end
        if self._is_torn(index, letters):
            raise self._torn(index)
        hint = BACKSLASH if b'\\"' in self._lines[index] else ""
        self._add_bad(index, f"a quote begins a cell and is not closed; double it, or remove it{hint}", letters)
        return index + 1

    def _torn(self, index: int) -> UserError:
        """Return the error for a row that was cut apart inside a quoted cell."""
        hint = BACKSLASH if b'\\"' in self._lines[index] else ""
        return UserError(
            f"line {index + 1}: a quote is not closed{hint}. SplitType Line cuts cells with newlines apart: write "
            "files that may be cut with `multimodal-algo prepare`, or send JSON Lines (application/jsonlines). "
            f"{_NOT_ANSWERED}"
        )

    def _end_of_row(self, index: int) -> int | None:
        """Return the index after the lines that give one row together, from `index` on.

        Return None if there are no such lines.
        """
        if index < self._open_until:
            return None  # The lines were joined before. They do not end well, from wherever they are joined.
        lines = (structure_of(self._lines[number]) + "\n" for number in range(index, len(self._lines)))
        reader = csv.reader(lines, strict=True)
        try:
            fields = next(reader)
        except csv.Error as error:
            is_at_end = index + reader.line_num == len(self._lines) and "end of data" in str(error)
            self._open_until = index + reader.line_num - (0 if is_at_end else 1)
            self._broken_at = 0 if is_at_end else self._open_until
            self._count_search(reader.line_num, index)
            return None
        end = index + reader.line_num
        rows = [self._letters(line) for line in self._lines[index:end]]
        if len(fields) != self._layout.width:
            self._count_search(reader.line_num, index)
            # Well-formed, but with a wrong number of fields: one bad row, if no row was swallowed.
            return None if any(len(row) == self._layout.width for row in rows[1:]) else end
        if self._may_be_rows(rows):
            if len(rows) > 2 and self._layout.number_positions:
                self._count_search(reader.line_num, index)
                return None  # A whole row, with its numbers in their places, between two others is not text.
            raise UserError(
                f"line {index + 1}: a quote is not closed in its line. Lines {index + 1} to {end} may be one row with "
                f"newlines in a cell, or {len(rows)} rows. Double the quotes inside quoted cells, or send JSON Lines "
                f"(application/jsonlines). {_NOT_ANSWERED}"
            )
        return end

    def _count_search(self, lines: int, index: int) -> None:
        self._searched += lines
        if self._searched > _MOST_SEARCHES * len(self._lines) + 1000:
            raise UserError(
                f"line {index + 1}: quotes are not closed here and in many lines before. Write the file with a CSV "
                f"library, or send JSON Lines (application/jsonlines). {_NOT_ANSWERED}"
            )

    def _letters(self, line: bytes) -> list[str]:
        """Return the fields of a single line, in which an unclosed quote is only a letter. Empty if it is not a row."""
        try:
            return fields_of(structure_of(line))
        except OpenQuote as opened:
            fields: list[str] = opened.args[0]
            return fields
        except NotARow:
            return []

    def _may_be_rows(self, rows: Sequence[Sequence[str]]) -> bool:
        """Return whether lines that could be joined to one row look like separate rows, and not just by chance."""
        width = self._layout.width
        if self._layout.number_positions:
            return all(self._has_numbers(row) for row in rows)
        return all(len(row) == width for row in rows) and width > 2 and (len(rows) > 2 or self._reading.in_batch)

    def _has_numbers(self, fields: Sequence[str]) -> bool:
        """Return whether the fields have the right number, and numbers where the model has columns of numbers.

        Empty numbers are allowed, but not all of them. Return False if the model has no columns of numbers.
        """
        if len(fields) != self._layout.width:
            return False
        numbers = [text for position in self._layout.number_positions if (text := fields[position].strip())]
        return bool(numbers) and all(map(is_number, numbers))

    def _is_torn(self, index: int, letters: Sequence[str]) -> bool:
        """Return whether the line may be the first half of a torn row, so that the other half may look like a row."""
        if self._has_numbers(letters):
            return False
        if len(self._lines) == 1:
            return self._reading.in_batch and not self._reading.single_record
        rows = 0
        for number in range(index + 1, len(self._lines)):
            line = self._lines[number]
            if b'"' in line:
                # It may close the cell, unless it begins one itself, or text follows where the cell would end.
                is_broken = number == self._broken_at
                rows += self._begins_cell(line) or (is_broken and self._has_numbers(self._letters(line)))
                break
            commas = line.count(b",")
            if not commas and not line.rstrip(b"\r"):
                continue
            if commas != self._layout.width - 1:
                return True
            rows += 1
        return rows == 0

    def _begins_cell(self, line: bytes) -> bool:
        """Return whether a line would be a row by itself, except that its last cell begins with an unclosed quote."""
        try:
            fields_of(structure_of(line))
        except OpenQuote as opened:
            return len(opened.args[0]) == self._layout.width
        except NotARow:
            pass
        return False

    def _read_carriage_returns(self, line: bytes, index: int, problem: str) -> None:
        """Read a line with carriage returns outside quotes. They separate rows, or make a bad row."""
        pieces = cut_at_carriage_returns(line)
        full = [piece for piece in pieces if piece]
        rows = [self._letters(piece) for piece in full]
        width = self._layout.width
        if self._finds_headers and len(full) > 1 and (header := self._headers.find(rows[0], index + 1, self._layout)):
            width = header.width
        widths = {len(fields) for fields in rows}
        if widths == {width} and (width > 1 or len(full) == 1):
            self._read_pieces(pieces if len(full) > 1 else full, index)
        elif width > 1 and (joined_width(rows) == width or (width not in widths and len(widths) > 1)):
            self._add_bad(index, problem, rows[0])
        else:
            raise UserError(
                f"line {index + 1}: {len(full)} lines end with a carriage return (CR) alone, as old Macs write them, "
                "and they may not all be rows. End lines with LF or CRLF, for example by `tr '\\r' '\\n'`. "
                f"{_NOT_ANSWERED}"
            )

    def _read_pieces(self, pieces: Sequence[bytes], index: int) -> None:
        """Read the rows that carriage returns separate in one line."""
        for number, piece in enumerate(pieces):
            # The body of an old Mac has one line, whose parts are counted.
            line = index + number if len(self._lines) == 1 else index
            try:
                if not (self._finds_headers and self._is_header(piece, line)):
                    self._add(line, fields_of(piece.decode("utf-8")), piece)
            except UnicodeDecodeError as error:
                self._not_utf8 += 1
                self._add_bad(line, not_utf8(piece, error))
            except OpenQuote as opened:
                self._add_bad(line, "a quote begins a cell and is not closed; double it, or remove it", opened.args[0])
            except NotARow as error:
                self._add_bad(line, str(error))
