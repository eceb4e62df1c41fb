"""The command ``multimodal-algo validate``: finds everything in training data that training would refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from multimodal_algo.config.customisation import Customisation
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.column_names import ColumnNames
from multimodal_algo.core.label_checks import LabelSettings
from multimodal_algo.core.schema import ID, LABEL, modality_of
from multimodal_algo.ingest.cells import CellRules
from multimodal_algo.ingest.channel_files import find_files
from multimodal_algo.ingest.column_kinds import find_kinds
from multimodal_algo.ingest.findings import BadRowPolicy, Inspection
from multimodal_algo.ingest.images import ImageFiles
from multimodal_algo.ingest.scan import scan
from multimodal_algo.ingest.sources import TableFormat, find_sources

_SHOWN_CLASSES = 30


def print_inspection(data: Path, images: Path | None = None, hyperparameters: HyperParameters | None = None) -> int:
    """Check the files at `data` and print errors, warnings, columns and classes.

    Parameters
    ----------
    data
        CSV or Parquet file, or a folder of such files.
    images
        Folder of the image files that cells may name.
    hyperparameters
        Hyperparameters of the job. None means the defaults.

    Returns
    -------
    int
        Exit code of the command: 1 if there is an error, otherwise 0.

    Raises
    ------
    UserError
        `data` has no CSV or Parquet file. Or a hyperparameter holds a key that training refuses.
    """
    console = Console(highlight=False, soft_wrap=True)
    settings = hyperparameters or HyperParameters.parse({})
    Customisation.of(settings)
    table = TableFormat.of(settings)
    finding = find_kinds(table, data)
    for sentence in finding.sentences:
        console.print(f"[cyan]note[/cyan]    {_plain(sentence)}.")
    table = replace(table, names=table.names.with_kinds(finding.kinds))
    rules = CellRules(ImageFiles(images) if images else None, settings.missing_texts, names=table.names)
    sources = find_sources(data, table)
    if data.is_dir() and (note := find_files(data).note):
        console.print(f"[cyan]note[/cyan]    {_plain(note)}")
    inspection = scan(
        sources,
        rules=rules,
        bad_rows=BadRowPolicy(settings.on_bad_row == "skip", settings.max_bad_row_fraction),
        problem_type=settings.problem_type,
        min_completeness=settings.min_completeness,
        labels=LabelSettings(
            settings.problem_type,
            settings.eval_metric,
            settings.class_weights_by_label(),
            decisions=settings.decisions,
        ),
    )
    for error in inspection.errors:
        console.print(f"[red]error[/red]   {_plain(error)}")
    for warning in inspection.warnings:
        console.print(f"[yellow]warning[/yellow] {_plain(warning)}")
    if inspection.schema is not None:
        console.print(_columns(inspection, table.names))
    if inspection.classes:
        console.print(_numbers(inspection) if inspection.problem_type == "regression" else _classes(inspection))
    counts = {"error": len(inspection.errors), "warning": len(inspection.warnings), "row": inspection.rows}
    verdict = ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in counts.items())
    console.print(f"{verdict}: {'training would stop' if inspection.errors else 'ready to train'}")
    return 1 if inspection.errors else 0


def _columns(inspection: Inspection, names: ColumnNames) -> Table:
    assert inspection.schema is not None
    table = Table("column", "modality", "missing", title=f"{inspection.rows} rows", title_justify="left")
    for column in inspection.schema.columns:
        modality = column if column in (LABEL, ID) else str(modality_of(column))
        share = inspection.missing.get(column, 0) / max(inspection.rows, 1)
        table.add_row(_plain(names.own(column)), modality, f"{share:.1%}" if column in inspection.missing else "")
    return table


def _classes(inspection: Inspection) -> Table:
    table = Table("class", "rows", "share", title=f"{len(inspection.classes)} classes", title_justify="left")
    total = sum(inspection.classes.values())
    for label, rows in list(inspection.classes.items())[:_SHOWN_CLASSES]:
        table.add_row(_plain(label[:60]), str(rows), f"{rows / total:.1%}")
    if len(inspection.classes) > _SHOWN_CLASSES:
        table.add_row(f"… {len(inspection.classes) - _SHOWN_CLASSES} more", "", "")
    return table


def _numbers(inspection: Inspection) -> Table:
    values = [float(label) for label in inspection.classes]
    table = Table("label", "", title="numbers: a regression", title_justify="left")
    table.add_row("least, greatest", f"{min(values)!r}, {max(values)!r}")
    table.add_row("different values", str(len(values)))
    table.caption = "Set problem_type=multiclass if these numbers are names of classes."
    return table


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
