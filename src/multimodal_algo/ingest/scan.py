"""Reads files once: every row is parsed and checked, and rows that can be read go to a receiver in chunks.

Training and ``multimodal-algo validate`` do the same checks. Only training has a receiver, which writes a dataset.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.headers import is_header, other_separator, schema_of, shortened, wrong_separator
from multimodal_algo.core.label_checks import LabelSettings
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema, Modality, modality_of
from multimodal_algo.core.values import trimmed
from multimodal_algo.ingest.cells import PLAIN, CellRules
from multimodal_algo.ingest.findings import BadRow, BadRowPolicy, Findings, Inspection
from multimodal_algo.ingest.progress import Progress
from multimodal_algo.ingest.records import NUL, RowProblem, wrong_width
from multimodal_algo.ingest.rows import PendingRow, RowParser
from multimodal_algo.ingest.sources import Source, SourceRow, read_rows

# Memory holds two chunks: threads decode the images of one, while the other is read or encoded.
CHUNK_ROWS = 256
CHUNK_BYTES = 24 * 1024 * 1024
# A name of a column in a header line in the middle of a file is not longer.
_NAME_CHARACTERS = 200
_SUFFIXES = tuple(modality.suffix for modality in Modality)


@dataclass
class Chunk:
    """Parsed rows with their labels and IDs, some thousand at a time. Cells are in lists, one list per column."""

    labels: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    cells: dict[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


class Sink(Protocol):
    """Receives the rows that can be read."""

    def begin(self, schema: FeatureSchema, rules: CellRules) -> CellRules:
        """Take the columns, and return how cells are to be parsed. Called once, after the first header."""
        ...

    def append(self, chunk: Chunk) -> None:
        """Take the next chunk of rows. Called in the order of the rows, until the first error."""
        ...


def scan(
    sources: Sequence[Source],
    *,
    sink: Sink | None = None,
    rules: CellRules = PLAIN,
    bad_rows: BadRowPolicy | None = None,
    problem_type: str = "auto",
    labels: LabelSettings | None = None,
    min_completeness: float = 0.0,
) -> Inspection:
    """Read every row of `sources` once, check the data as training does, and return the result.

    Parameters
    ----------
    sources, sink, rules
        See `collect`.
    bad_rows
        Treatment of rows that cannot be read. By default they are errors.
    problem_type
        The hyperparameter. With ``regression``, a label that is not a number is an error of its row.
    labels
        Settings that restrict the labels. By default only the problem type does.
    min_completeness
        The hyperparameter: least share of a row's cells of one modality that must be filled.

    Returns
    -------
    Inspection
        Statistics, warnings and errors. `Inspection.raise_for_errors` raises the errors.
    """
    findings = Findings(bad_rows, problem_type, min_completeness)
    return findings.inspection(collect(sources, findings, sink=sink, rules=rules), labels=labels, names=rules.names)


def collect(
    sources: Sequence[Source],
    findings: Findings,
    *,
    sink: Sink | None = None,
    rules: CellRules = PLAIN,
    progress: Progress | None = None,
    schema: FeatureSchema | None = None,
    first_file: str = "",
) -> FeatureSchema | None:
    """Read every row of `sources` once, and record problems and statistics of the rows in `findings`.

    Parameters
    ----------
    sources
        Files of a channel. Each has the same header.
    findings
        Empty findings, which this function fills.
    sink
        Receiver of the rows that can be read.
    rules
        How cells are parsed.
    progress
        Counter of rows and bytes, which logs how far the reading is.
    schema
        The columns that every header must have. By default the columns of the first file.
    first_file
        Name, for messages, of the file or files that `schema` comes from.

    Returns
    -------
    FeatureSchema | None
        The columns. None if no header could be read.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode") as pool:
        return _Scan(sink, rules, findings, progress or Progress(0), schema, first_file, pool).run(sources)


@dataclass(frozen=True)
class _Row:
    """A row whose images may still be in decoding.

    `pending` has the cells. If the row is not well-formed or has a wrong number of fields, `pending` is the problem.
    """

    file: str
    number: int
    line: int
    pending: PendingRow | RowProblem
    label: str = ""
    identity: str | None = None
    with_newlines: Sequence[str] = ()

    @property
    def where(self) -> str:
        """The file, row and line of this row, for messages."""
        line = f" (line {self.line})" if self.line != self.number + 1 else ""
        return f"{self.file}, row {self.number}{line}"


class _Scan:
    """The state while files are read. See `collect` for the parameters."""

    def __init__(
        self,
        sink: Sink | None,
        rules: CellRules,
        findings: Findings,
        progress: Progress,
        schema: FeatureSchema | None,
        first_file: str,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._sink = sink
        self._rules = rules
        self._progress = progress
        self._pool = pool
        self._findings = findings
        self._schema = schema
        self._first_file = first_file
        self._features: tuple[str, ...] = ()
        self._image_columns: tuple[str, ...] = ()
        self._parser: RowParser | None = None
        self._reading: list[_Row] = []
        self._reading_bytes = 0
        self._decoding: list[_Row] = []

    def run(self, sources: Sequence[Source]) -> FeatureSchema | None:
        done = 0
        for source in sources:
            begin = 0 if source.section is None else source.section.offset
            try:
                for row in read_rows(source, reports_broken=True):
                    if row.number == 0:
                        if not self._take_header(row.fields, source):
                            break
                    elif not self._is_next_header(row, source):
                        self._take(row, source)
                    # The header of a section lies before the section's begin.
                    self._progress.at(done + max(0, row.offset - begin))
            except UserError as error:
                self._findings.error(str(error))
                if self._schema is None:
                    break
            done += source.size
        self._turn()
        self._turn()
        return self._schema

    def _take_header(self, header: list[str], source: Source) -> bool:
        """Check the header of a file, and return whether the rows of the file can be read."""
        if self._schema is None:
            self._schema = schema_of(header, source.name)
            self._first_file = source.name
        elif tuple(header) != self._schema.columns:
            if len(header) == 1 and (separator := other_separator(header[0])):
                raise UserError(f"{source.name}: {wrong_separator(separator)}")
            if not is_header(header) and not set(header) & set(self._schema.columns):
                self._findings.headerless(source.name, self._first_file)
                return False
            raise UserError(_other_header(self._schema, header, source.name, self._first_file))
        if self._parser is None:
            self._features = self._schema.features
            self._image_columns = self._schema.of(Modality.IMAGE)
            if self._sink is not None:
                self._rules = self._sink.begin(self._schema, self._rules)
            self._parser = RowParser(self._schema.columns, self._pool, self._rules)
        return True

    def _is_next_header(self, row: SourceRow, source: Source) -> bool:
        """Return whether a row is a header, of the next file of a FIFO or of a file that was joined to another."""
        fields = row.fields
        # Most rows are known by their first cell. Parquet has bytes in it, and rows that are not well-formed no cell.
        first = fields[0] if fields else None
        if (
            not isinstance(first, str)
            or len(first) > _NAME_CHARACTERS
            or not (first.endswith(_SUFFIXES) or first in (LABEL, ID))
        ):
            return False
        assert self._schema is not None
        columns = self._schema.columns
        if tuple(fields) == columns:
            if not source.is_pipe:
                self._findings.repeated_header(_Row(source.name, row.number, row.line, NUL).where)
            return True
        if LABEL not in fields or not all(_is_name(field) for field in fields):
            return False
        where = f"{source.name}, line {row.line}"
        raise UserError(_other_header(self._schema, fields, where, self._first_file))

    def _take(self, row: SourceRow, source: Source) -> None:
        schema, parser = self._schema, self._parser
        assert schema is not None
        assert parser is not None
        size = sum(map(len, row.fields))
        if len(row.fields) == len(schema.columns):
            self._reading.append(self._start(row, source, schema, parser))
            if self._rules.images is None:
                self._findings.size(size)
        else:
            problem = row.problem or wrong_width(row.fields, schema.columns)
            self._reading.append(_Row(source.name, row.number, row.line, problem))
        self._reading_bytes += size
        if len(self._reading) >= CHUNK_ROWS or self._reading_bytes >= CHUNK_BYTES:
            self._turn()

    def _start(self, row: SourceRow, source: Source, schema: FeatureSchema, parser: RowParser) -> _Row:
        named = dict(zip(schema.columns, row.fields, strict=True))
        return _Row(
            source.name,
            row.number,
            row.line,
            parser.start(row.fields),
            self._label(named[LABEL]),
            str(named[ID]) if schema.has_id else None,
            [column for column, text in named.items() if isinstance(text, str) and "\n" in text],
        )

    def _label(self, cell: Any) -> str:
        label = trimmed(str(cell))
        return "" if label in self._rules.missing else label

    def _turn(self) -> None:
        """Finish the chunk whose images are in decoding, and make the chunk that was read the one in decoding."""
        finishing, self._decoding = self._decoding, self._reading
        self._reading, self._reading_bytes = [], 0
        chunk = Chunk()
        for row in finishing:
            self._finish(row, chunk)
        if self._sink is not None and len(chunk) and not self._findings.has_errors:
            self._sink.append(chunk)

    def _finish(self, row: _Row, chunk: Chunk) -> None:
        if isinstance(row.pending, RowProblem):
            self._findings.broken_row(row.where, row.pending)
            self._findings.bad_row(BadRow(row.file, row.number, row.line, "", row.pending.reason))
            return
        parsed = row.pending.finish()
        if not self._findings.is_label(row.label):
            parsed.problems.append((LABEL, f"'{row.label[:40]}' is not a finite number"))
        for column, reason in parsed.problems:
            self._findings.bad_cell(row.where, column, reason)
        if not row.label:
            self._findings.empty_label(row.where)
        if parsed.problems or not row.label:
            column, reason = parsed.problems[0] if parsed.problems else (LABEL, "empty")
            self._findings.bad_row(BadRow(row.file, row.number, row.line, column, reason))
            return
        self._findings.statistics.count(row.where, row.label, row.identity, parsed.cells, row.with_newlines)
        self._findings.informed.count(row.label, parsed.cells)
        self._progress.rows(1, sum(len(parsed.cells[column]) for column in self._image_columns))
        if self._sink is None:
            return
        chunk.labels.append(row.label)
        if row.identity is not None:
            chunk.ids.append(row.identity)
        for column in self._features:
            chunk.cells.setdefault(column, []).append(parsed.cells[column])


def _is_name(field: Any) -> bool:
    return isinstance(field, str) and (field in (LABEL, ID) or modality_of(field) is not None)


def _other_header(schema: FeatureSchema, header: Sequence[str], name: str, first: str) -> str:
    missing = [c for c in schema.columns if c not in header]
    extra = [c for c in header if c not in schema.columns]
    what = "; ".join(
        text
        for text in (
            f"missing {', '.join(map(shortened, missing[:5]))}" if missing else "",
            f"unexpected {', '.join(map(shortened, extra[:5]))}" if extra else "",
            "" if missing or extra else "the order differs",
        )
        if text
    )
    return f"{name}: its header differs from that of {first} ({what}). Give all files one header."
