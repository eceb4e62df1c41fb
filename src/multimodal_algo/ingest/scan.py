"""One pass over CSV files: parse and check every row, hand good chunks on, and tell what was found.

``multimodal-algo validate`` and training run this same pass; training gives it a sink.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multimodal_algo.errors import UserError
from multimodal_algo.ingest.cells import BadCell, parse_cell
from multimodal_algo.ingest.findings import Findings, Inspection
from multimodal_algo.ingest.sources import Source, SourceRow, read_rows
from multimodal_algo.schema import ID, LABEL, FeatureSchema, modality_of

CHUNK_ROWS = 256


@dataclass
class Chunk:
    """Up to `CHUNK_ROWS` parsed rows, by column."""

    labels: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    cells: dict[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


Sink = Callable[[FeatureSchema, Chunk], None]


def scan(sources: Sequence[Source], *, sink: Sink | None = None) -> Inspection:
    """Read every row of `sources` once.

    Parameters
    ----------
    sources
        Shards of one dataset; each has the header, and the headers must be equal.
    sink
        Called with the schema and each chunk of good rows, in order, as long as no error was found.

    Returns
    -------
    Inspection
        Statistics and findings; `Inspection.raise_for_errors` turns the latter into a `UserError`.
    """
    findings = Findings()
    schema: FeatureSchema | None = None
    chunk = Chunk()
    for source in sources:
        try:
            for row in read_rows(source):
                if row.number == 0:
                    schema = _agreed_schema(schema, row.fields, source, findings)
                    continue
                assert schema is not None
                parsed = _parsed(row, source, schema, findings)
                if parsed is None or sink is None:
                    continue
                _add(chunk, parsed, schema, row)
                if len(chunk) == CHUNK_ROWS:
                    if not findings.has_errors:
                        sink(schema, chunk)
                    chunk = Chunk()
        except UserError as error:
            findings.error(str(error))
            if schema is None:
                break
    if sink is not None and schema is not None and len(chunk) and not findings.has_errors:
        sink(schema, chunk)
    return findings.inspection(schema)


def parse_fields(
    schema: FeatureSchema, columns: Sequence[str], fields: Sequence[str]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The feature cells of one row, and what is wrong with them.

    Parameters
    ----------
    schema
        The columns.
    columns
        The names of `fields`: the training order, or the inference order without ``label``.
    fields
        As many raw cells as there are `columns`.

    Returns
    -------
    cells
        Per feature column the parsed value; bad cells are absent.
    problems
        ``(column, reason)`` of each bad cell.
    """
    cells: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for column, field_ in zip(columns, fields, strict=True):
        modality = modality_of(column)
        if modality is None or column in (LABEL, ID):
            continue
        try:
            cells[column] = parse_cell(modality, field_)
        except BadCell as error:
            problems.append((column, str(error)))
    return cells, problems


def _agreed_schema(
    schema: FeatureSchema | None, header: list[str], source: Source, findings: Findings
) -> FeatureSchema:
    if schema is None:
        return FeatureSchema.from_header(header, source.name)
    if tuple(header) != schema.columns:
        missing = [c for c in schema.columns if c not in header]
        extra = [c for c in header if c not in schema.columns]
        what = "; ".join(
            text
            for text in (
                f"missing {', '.join(missing[:5])}" if missing else "",
                f"unexpected {', '.join(extra[:5])}" if extra else "",
                "" if missing or extra else "the order differs",
            )
            if text
        )
        raise UserError(
            f"{source.name}: its header differs from that of the first file ({what}). Give all files one header."
        )
    return schema


def _parsed(row: SourceRow, source: Source, schema: FeatureSchema, findings: Findings) -> Mapping[str, Any] | None:
    where = f"{source.name}, row {row.number}" + (f" (line {row.line})" if row.line != row.number + 1 else "")
    if len(row.fields) != len(schema.columns):
        findings.bad_width(where, len(row.fields), len(schema.columns))
        return None
    cells, problems = parse_fields(schema, schema.columns, row.fields)
    for column, reason in problems:
        findings.bad_cell(where, column, reason)
    label = row.fields[schema.columns.index(LABEL)]
    if not label:
        findings.empty_label(where)
    findings.count(where, cells, row.fields, schema)
    return None if problems or not label else cells


def _add(chunk: Chunk, cells: Mapping[str, Any], schema: FeatureSchema, row: SourceRow) -> None:
    chunk.labels.append(row.fields[schema.columns.index(LABEL)])
    if schema.has_id:
        chunk.ids.append(row.fields[schema.columns.index(ID)])
    for column in schema.features:
        chunk.cells.setdefault(column, []).append(cells[column])
