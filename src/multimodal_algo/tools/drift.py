"""Compares new rows with the training rows of a model: ``multimodal-algo drift``."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from multimodal_algo.artifact import SKETCHES, artifact_at
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID
from multimodal_algo.ingest.sources import find_sources, read_rows

if TYPE_CHECKING:
    from multimodal_algo.monitoring.adversary import Adversary
    from multimodal_algo.monitoring.comparison import Difference, Drift
    from multimodal_algo.serving.loaded_model import LoadedModel

DIFFERS = 3
"""Exit code of the command if a column differs."""

_BATCH = 64
_STRANGE = 0.99


@dataclass(frozen=True)
class DriftReport:
    """The result of the comparison of new files with the training rows of a model.

    Parameters
    ----------
    name
        Name of the file or folder.
    read, bad
        Number of compared rows, and number of rows among them that cannot be read.
    drift
        The comparison, column by column.
    adversary
        How well a linear model distinguishes new rows from training rows. None if rows are too few.
    strange
        Share of the new rows that are more unusual than 99 % of the training rows.
    notes
        Sentences about the files.
    """

    name: str
    read: int
    bad: int
    drift: Drift
    adversary: Adversary | None
    strange: float
    notes: Sequence[str]

    @property
    def differs(self) -> bool:
        """Whether any column differs."""
        return bool(self.drift.columns)

    @property
    def sentences(self) -> list[str]:
        """The results in words, without the results of single columns."""
        sentences = [*self.notes]
        if self.bad:
            sentences.append(f"{self.bad:,} of {self.read:,} rows cannot be read and are left out.")
        if self.adversary is not None:
            sentences.append(
                f"A linear model separates new rows from training rows with an AUC of {self.adversary.auc:.2f} "
                f"(by chance: 0.5, p = {self.adversary.p_value:.2g})."
            )
        if self.drift.rows:
            sentences.append(f"{self.strange:.1%} of the rows are less like training rows than 99 % of those.")
        return sentences

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the JSON file."""
        return {
            "file": self.name,
            "rows": self.drift.rows,
            "bad_rows": self.bad,
            "differs": self.differs,
            "columns": list(self.drift.columns),
            "adversarial_auc": None if self.adversary is None else round(self.adversary.auc, 4),
            "adversarial_p_value": None if self.adversary is None else round(self.adversary.p_value, 4),
            "strange_rows": round(self.strange, 4),
            "notes": list(self.notes),
            "measures": [_described(each) for each in self.drift.differences],
        }

    def print(self) -> None:
        """Print a table of the columns, and the results in words."""
        console = Console(highlight=False, soft_wrap=True)
        table = Table("column", "property", "size", "PSI", "p", "", title=self.name, title_justify="left")
        for difference in self.shown:
            table.add_row(
                _plain(difference.measure.column), difference.measure.kind.value, f"{difference.size:.3f}",
                f"{difference.psi:.3f}", f"{difference.p_value:.2g}",
                f"[red]{_plain(difference.sentence)}[/red]" if difference.differs else "as in training",
            )  # fmt: skip
        console.print(table)
        for sentence in (*self.sentences, f"{self.drift.sentence}."):
            console.print(_plain(sentence))

    @property
    def shown(self) -> list[Difference]:
        """All differences that count, and for each other column its most certain difference."""
        shown, columns = [], set()
        for each in self.drift.differences:
            if each.differs or each.measure.column not in columns:
                shown.append(each)
            columns.add(each.measure.column)
        return shown

    def write(self, path: Path) -> None:
        """Write the results to a file: as a page if its name ends with ``.html``, otherwise as JSON."""
        if path.suffix.lower() != ".html":
            path.write_text(json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            return
        from multimodal_algo.monitoring.page import page_of

        path.write_text(page_of(self.name, self.drift, self.sentences), encoding="utf-8")


def compare_files(model: Path, data: Path, *, most_rows: int = 2_000) -> DriftReport:
    """Compare the rows of files with the training rows of a model.

    Parameters
    ----------
    model
        A ``model.tar.gz``, a folder that contains it, or a folder with its unpacked content.
    data
        A CSV or Parquet file, or a folder of such files. A CSV file has lines for inference, or a header whose columns
        may be in any order.
    most_rows
        Greatest number of rows to compare. They are chosen at random. 0 compares all rows.

    Raises
    ------
    UserError
        The artifact has no sketches, or the rows do not have the columns of the model.
    """
    from multimodal_algo.monitoring.sketches import Sketches
    from multimodal_algo.serving.loaded_model import LoadedModel

    with tempfile.TemporaryDirectory(prefix="multimodal-drift-") as scratch:
        folder = artifact_at(model, Path(scratch) / "artifact")
        if not (folder / SKETCHES).is_file():
            raise UserError(f"{model.name}: the artifact has no {SKETCHES}, to compare rows with. Train again.")
        sketches = Sketches.load(folder / SKETCHES)
        loaded = LoadedModel.load(folder)
        return _compared(loaded, sketches, data, most_rows)


def _compared(model: LoadedModel, sketches: Any, data: Path, most_rows: int) -> DriftReport:
    import numpy as np

    from multimodal_algo.monitoring.adversary import separate
    from multimodal_algo.monitoring.comparison import compare
    from multimodal_algo.monitoring.measuring import Meter, count_bins
    from multimodal_algo.monitoring.novelty import Novelty

    notes: dict[str, None] = {}
    rows = list(_rows(model, data, notes))
    if not rows:
        raise UserError(f"{data.name}: there is no row. Give a file with at least one.")
    if most_rows and len(rows) > most_rows:
        notes[f"{most_rows:,} of {len(rows):,} rows are compared, chosen at random."] = None
        chosen = np.sort(np.random.default_rng(0).choice(len(rows), most_rows, replace=False))
        rows = [rows[row] for row in chosen]
    meter = Meter.of(sketches, model.categories, with_languages=True)
    parts, bad = [], sum(row is None for row in rows)
    good = [row for row in rows if row is not None]
    for start in range(0, len(good), _BATCH):
        features, problems = model.features(good[start : start + _BATCH])
        bad += sum(problem is not None for problem in problems)
        if len(features):
            parts.append(meter.bins(features))
    bins = np.concatenate([np.empty((0, len(sketches.measures)), np.uint8), *parts])
    novelty = Novelty.of(sketches)(bins)
    return DriftReport(
        data.name, len(rows), bad,
        compare(sketches, count_bins(bins, sketches.measures), len(bins)),
        separate(sketches.measures, sketches.sample, bins),
        float((novelty >= _STRANGE).mean()) if len(bins) else 0.0,
        tuple(notes),
    )  # fmt: skip


def _rows(model: LoadedModel, data: Path, notes: dict[str, None]) -> Iterator[list[Any] | None]:
    """Yield the cells of each row in the order of the model's columns. None if a row has the wrong number of cells."""
    wanted = model.schema.inference_columns
    for source in find_sources(data):
        positions: list[int | None] | None = None
        width = 0
        for row in read_rows(source, reports_broken=True):
            if positions is None:
                names = [model.names.canonical(str(name)) for name in row.fields]
                positions = _positions(names, wanted, source.name, notes)
                width = len(names)
                if set(names) & set(model.schema.features):
                    continue
            if row.problem is not None or len(row.fields) != width:
                yield None
            else:
                yield ["" if place is None else row.fields[place] for place in positions]


def _positions(fields: Sequence[str], wanted: Sequence[str], where: str, notes: dict[str, None]) -> list[int | None]:
    """Return the index of each `wanted` column in `fields`, the first row of a file. None for a missing column."""
    features = [column for column in wanted if column != ID]
    if set(fields) & set(features):
        if missing := [column for column in features if column not in fields]:
            notes[f"{where} lacks {', '.join(missing)}: all cells count as missing."] = None
        return [fields.index(column) if column in fields else None for column in wanted]
    if len(fields) == len(wanted):
        return list(range(len(wanted)))
    if len(fields) == len(features):
        return [None if column == ID else features.index(column) for column in wanted]
    raise UserError(
        f"{where}: the first line is not a header of the model's columns and has {len(fields)} fields, but the model "
        f"reads {len(wanted)} ({', '.join(wanted)[:200]}). Give inference lines, or a file with a header."
    )


def _described(difference: Difference) -> dict[str, Any]:
    return {
        "column": difference.measure.column,
        "property": difference.measure.kind.value,
        "direction": difference.measure.number or None,
        "distance": "ks" if difference.measure.is_ordered else "total_variation",
        "size": round(difference.size, 4),
        "psi": round(difference.psi, 4),
        "p_value": difference.p_value,
        "differs": difference.differs,
        "sentence": difference.sentence,
    }


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
