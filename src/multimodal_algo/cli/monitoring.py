"""The command ``multimodal-algo drift``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from multimodal_algo.cli.options import FILE_OR_FOLDER


@click.command()
@click.argument("model", type=FILE_OR_FOLDER)
@click.argument("data", type=FILE_OR_FOLDER)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the results: a page if its name ends with .html, otherwise JSON. It may be given twice.",
)
@click.option(
    "--most-rows",
    type=click.IntRange(min=0),
    default=2_000,
    show_default=True,
    help="Greatest number of rows to compare, chosen at random. 0 compares all.",
)
def drift(model: Path, data: Path, outputs: tuple[Path, ...], most_rows: int) -> None:
    """Compare the rows of DATA with the training rows of MODEL. The exit code is 3 if a column differs.

    MODEL is a model.tar.gz, a folder that contains it, or a folder with its unpacked content. DATA is a CSV or Parquet
    file, or a folder of such files: lines for inference, or files with a header.
    """
    from multimodal_algo.tools.drift import DIFFERS, compare_files

    report = compare_files(model, data, most_rows=most_rows)
    report.print()
    for path in outputs:
        report.write(path)
    sys.exit(DIFFERS if report.differs else 0)
