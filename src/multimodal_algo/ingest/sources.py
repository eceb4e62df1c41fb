"""The files of a channel, CSV or Parquet, and their rows with exact positions in the file."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.column_names import AS_WRITTEN, ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.ingest.channel_files import find_files, listed
from multimodal_algo.ingest.formats import PARQUET, foreign_format
from multimodal_algo.ingest.records import BrokenRecord, Lines, RowProblem, first_bytes, records, wrong_width

_LOG = logging.getLogger(__name__)

_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True)
class TableFormat:
    """The form of a channel's tables: the separator and the column names, which hyperparameters set.

    Parameters
    ----------
    delimiter
        Separator of the cells in text files.
    names
        The user's own column names.
    """

    delimiter: str = ","
    names: ColumnNames = AS_WRITTEN

    @classmethod
    def of(cls, hyperparameters: HyperParameters) -> TableFormat:
        """Return the form of tables that the hyperparameters of a job set."""
        return cls(hyperparameters.delimiter, hyperparameters.column_names)


STANDARD = TableFormat()
"""Commas, and columns with suffixes."""


@dataclass(frozen=True)
class Section:
    """A part of a file: rows that follow each other. Several hosts can read the sections of a large file.

    Parameters
    ----------
    row, line, offset, position
        Where the row before the section ends, see `SourceRow`.
    end
        Position of the last row. None if the section ends with the file.
    size
        Size in bytes of the file.
    """

    row: int
    line: int
    offset: int
    position: int
    end: int | None
    size: int


@dataclass(frozen=True)
class Source:
    """A file to read rows from, a section of a file, or a FIFO.

    Parameters
    ----------
    path
        Path of the file or FIFO.
    name
        Name in messages: the path below the channel's directory.
    is_pipe
        Whether it is a FIFO of Pipe mode. A FIFO yields the files of the channel one after the other, with their
        headers, and can be read only once.
    section
        Rows of the file to read. None for all rows.
    table
        Separator and names of the columns.
    """

    path: Path
    name: str
    is_pipe: bool = False
    section: Section | None = None
    table: TableFormat = STANDARD

    @property
    def is_parquet(self) -> bool:
        """Whether the file is Parquet, or has the name of a Parquet file. False for a FIFO."""
        if self.is_pipe:
            return False
        with self.path.open("rb") as file:
            return _is_parquet(self.path, first_bytes(file))

    @property
    def size(self) -> int:
        """Size in bytes. 0 for a FIFO, whose size is unknown."""
        if self.section is not None:
            return self.section.size
        return 0 if self.is_pipe else self.path.stat().st_size


class SourceRow(NamedTuple):
    """One row of a file, not parsed yet, with its position.

    Parameters
    ----------
    number
        Number of the row in the file, from 1. The header has 0.
    line
        Line of the file on which the row ends, from 1. It is larger than ``number + 1`` after quoted newlines.
    fields
        Cells without quotes: strings, or bytes of an image in a Parquet file.
    offset
        Number of bytes of the file that were read so far.
    position
        End of the row: in bytes of the decompressed text, or in rows of a Parquet file.
    problem
        Reason why the row is not well-formed. Then there are no `fields`. None for other rows.
    """

    number: int
    line: int
    fields: list[Any]
    offset: int
    position: int
    problem: RowProblem | None = None


def find_sources(location: Path, table: TableFormat = STANDARD) -> list[Source]:
    """Return the files to read in the channel at `location`, which is a file, a FIFO or a directory.

    The files of a directory are sorted by path. Folders may nest, because File mode copies the tree of keys in S3.
    `channel_files.find_files` decides which files are tables. Other files are not read, and one log line lists them.

    Parameters
    ----------
    location
        Path of the channel.
    table
        Separator and names of the columns.

    Raises
    ------
    UserError
        There is nothing at `location`, or none of the files can be CSV or Parquet.
    """
    if location.is_fifo():
        return [Source(location, location.name, is_pipe=True, table=table)]
    if location.is_file():
        return [Source(location, location.name, table=table)]
    if not location.is_dir():
        raise UserError(f"{location}: there is no such file or directory. Give a CSV file or a folder of them.")
    files = find_files(location)
    if not files.tables:
        filled = [name for name in files.passed_over if (location / name).stat().st_size]
        content = f"only {listed(filled)}" if filled else "nothing"
        raise UserError(
            f"{location.name}: {content} is there. Put at least one .csv, .csv.gz or .parquet file into it."
        )
    if files.passed_over:
        _LOG.info("%s: %s", location.name, files.note)
    return [Source(location / name, f"{location.name}/{name}", table=table) for name in files.tables]


def read_rows(source: Source, *, reports_broken: bool = False) -> Iterator[SourceRow]:
    """Yield the header and the rows of a file in order. A file is read once, from its beginning to its end.

    CSV is RFC 4180 with quoted newlines, LF or CRLF, in UTF-8 with or without BOM, see `ingest.records`. Blank lines
    are not rows. Gzip and Parquet are recognised by the file's first bytes, because File mode does not decompress.

    The rows of a section have the same numbers as in the whole file. Columns have names with suffixes in place of the
    user's own names. Dates become numbers, and unused columns are left out.

    Parameters
    ----------
    source
        The file, section or FIFO.
    reports_broken
        Whether a row that is not well-formed is yielded with its problem, if the rows after it can be read.
        Otherwise it is an error.

    Raises
    ------
    UserError
        The file has another format, encoding or separator, a row is not well-formed, or a gzip or Parquet file is
        broken. The message names the line.
    """
    rows, names = _rows(source, reports_broken), source.table.names
    are_final = names.are_suffixed and not (source.is_pipe and names.finds_kinds)
    return rows if are_final else _with_suffixes(rows, source)


def _rows(source: Source, reports_broken: bool) -> Iterator[SourceRow]:
    """Yield the rows with all columns that the file has, under the user's own names."""
    with source.path.open("rb", buffering=_BUFFER_BYTES) as file:
        begin = first_bytes(file)
        if _is_parquet(source.path, begin):
            yield from _parquet_rows(source)
            return
        section, number = source.section, 0
        try:
            lines = Lines(file, source.name, source.is_pipe, source.table.delimiter)
            for fields in records(lines, source.table.delimiter, source.name):
                if fields:
                    if not isinstance(fields, RowProblem):
                        yield SourceRow(number, lines.number, fields, lines.offset, lines.position)
                    elif reports_broken:
                        yield SourceRow(number, lines.number, [], lines.offset, lines.position, fields)
                    else:
                        raise BrokenRecord(fields, lines.number)
                    number += 1
                    if number == 1 and section is not None:
                        lines.skip_to(section.position, section.line)
                        number += section.row
                if section is not None and section.end is not None and lines.position >= section.end:
                    return
        except BrokenRecord as error:
            where = f"row {number} (line {error.line})" if number else f"line {error.line}"
            raise UserError(f"{source.name}, {where}: {error.problem.reason}. {error.problem.remedy}") from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{source.name}: the gzip file is broken ({error}). Upload it again.") from None


def _is_parquet(path: Path, begin: bytes) -> bool:
    return begin.startswith(PARQUET) or (path.name.lower().endswith(".parquet") and foreign_format(begin) is None)


def _with_suffixes(rows: Iterator[SourceRow], source: Source) -> Iterator[SourceRow]:
    """Rename the columns of rows to their names with suffixes, and drop columns that are not used."""
    names = source.table.names
    first = next(rows, None)
    if first is None:
        return
    header = [str(name) for name in first.fields]
    names.check(header, source.name)
    if source.is_pipe and (undecided := names.undecided(header)):
        raise UserError(
            f"{source.name}: Pipe mode reads rows once, so kinds of columns cannot be found from the cells. Give the "
            f"hyperparameter columns the kinds of {listed(undecided)}, or set InputMode to File or FastFile."
        )
    used = [number for number, name in enumerate(header) if name not in names.dropped]
    in_table = [names.canonical(header[number]) for number in used]
    columns = names.in_models(in_table)
    convert = names.cells_in_models(in_table) or list
    yield first._replace(fields=columns)
    for row in rows:
        if row.problem is not None:
            yield row
        elif len(row.fields) != len(header):
            yield row._replace(fields=[], problem=wrong_width(row.fields, header))
        elif row.fields == header:  # of a file that was joined to another
            yield row._replace(fields=columns)
        else:
            yield row._replace(fields=convert([row.fields[number] for number in used]))


def cut(source: Source, header: Sequence[str], least_bytes: int, least_rows: int) -> list[Section]:
    """Cut a file into sections that together have all of its rows, so that several work items can read it.

    The file is read for this, because only a parser knows which newlines are in quotes. If a row cannot be read, the
    last section has all that follows. The reader of that section reports the error.

    Parameters
    ----------
    source
        Whole file.
    header
        Names of the columns.
    least_bytes, least_rows
        Smallest number of bytes and of rows in a section. The last section may be smaller.

    Returns
    -------
    list[Section]
        Sections in order. Empty for a file that stays whole, for example since it has another header.
    """
    bounds: list[SourceRow] = []
    with suppress(UserError):
        for row in read_rows(source, reports_broken=True):
            if row.number == 0:
                if row.fields != list(header):
                    return []
                bounds.append(row)
            elif row.offset - bounds[-1].offset >= least_bytes and row.number - bounds[-1].number >= least_rows:
                bounds.append(row._replace(fields=[]))
    if len(bounds) < 2:
        return []
    inner = [_section(before, last.position, last.offset) for before, last in pairwise(bounds)]
    return [*inner, _section(bounds[-1], None, source.size)]


def _section(before: SourceRow, end: int | None, end_offset: int) -> Section:
    size = end_offset - before.offset
    return Section(before.number, before.line, before.offset, before.position, end, size)


def _parquet_rows(source: Source) -> Iterator[SourceRow]:
    if source.is_pipe:
        raise UserError(f"{source.name}: Parquet cannot be read in Pipe mode. Use File or FastFile mode.")
    from multimodal_algo.ingest.parquet import read_parquet

    section = source.section
    first, end = (section.row, section.end) if section is not None else (0, None)
    for number, cells, offset in read_parquet(source.path, source.name, first, source.table.names):
        yield SourceRow(number, number + 1, cells, offset, number)
        if number == end:
            return
