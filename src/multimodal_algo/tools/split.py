"""Splits a table into a training file, a test file and lines for inference: ``multimodal-algo split``."""

from __future__ import annotations

import base64
import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.config.inference import on_one_line
from multimodal_algo.core.column_names import AS_WRITTEN, ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.headers import listed
from multimodal_algo.core.labels import class_counts, detect_problem_type, number_of
from multimodal_algo.core.schema import ID, LABEL, Modality, modality_of
from multimodal_algo.core.values import label_keys, trimmed
from multimodal_algo.ingest.column_kinds import find_kinds
from multimodal_algo.ingest.image_text import names_a_file
from multimodal_algo.ingest.images import SeveralImages
from multimodal_algo.ingest.sources import STANDARD, Source, TableFormat, find_sources, read_rows
from multimodal_algo.tools.dealing import NO_CLASS, bins_of_numbers, deal, linked_groups
from multimodal_algo.tools.written import complete_file, complete_text, csv_record

# A shorter text may be a name that different things have.
_LONG_BYTES = 120
# A long value that more rows have is a phrase or a placeholder.
_MOST_DUPLICATES = 10
_SHOWN_CLASSES = 30


@dataclass(frozen=True)
class SplitSettings:
    """Settings of a split.

    Parameters
    ----------
    share
        Share of the rows that are test rows, between 0 and 1.
    table
        Separator and names of the columns.
    group
        Columns whose equal values stay together: all rows with a value are training rows, or all are test rows.
    seed
        Seed of the random order.
    """

    share: float = 0.2
    table: TableFormat = STANDARD
    group: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Split:
    """The result of a split.

    Parameters
    ----------
    train, test, lines
        Paths of the files: training rows, test rows, and the test rows as lines for inference.
    counts
        Number of training rows and of test rows of each class, the largest class first. Empty if labels are numbers.
    train_rows, test_rows
        Number of rows.
    linked
        Number of rows that have the same group or the same content as another row.
    names_images
        Whether the lines name image files, which a server does not have.
    """

    train: Path
    test: Path
    lines: Path
    counts: dict[str, tuple[int, int]]
    train_rows: int
    test_rows: int
    linked: int
    names_images: bool = False


def split_data(data: Path, settings: SplitSettings) -> Split:
    """Write the rows of `data` next to it, as ``NAME_train``, ``NAME_test`` and ``NAME_test_noheader.csv``.

    The test file has the same share of the rows of each class. If labels are numbers, it has the same share of each
    tenth of the sorted labels. Rows with the same content go into the same file: equal rows, or rows with an equal
    image or long text. The files are read three times, in chunks. Memory holds only a few numbers for each row.

    Parameters
    ----------
    data
        CSV, packed CSV or Parquet file, or a folder of such files. The new files have its format.
    settings
        Settings of the split.

    Raises
    ------
    UserError
        The data cannot be read, a column is missing, or one of the new files would have no rows.
    """
    if not 0 < settings.share < 1:
        raise UserError(f"--test {settings.share:g}: give the share of the test rows, between 0 and 1.")
    table = replace(settings.table, names=_names_with_kinds(settings.table, data))
    sources = find_sources(data, table)
    formats = {source.is_parquet for source in sources}
    if len(formats) > 1:
        raise UserError(f"{data.name}: CSV and Parquet files are in one folder. Split them one after the other.")
    notes = _Notes.of(sources, [table.names.canonical(name) for name in settings.group])
    groups = linked_groups(len(notes), notes.keys())
    in_test = deal(notes.classes(), groups, settings.share, settings.seed)
    if in_test.all() or not in_test.any():
        raise UserError(
            f"{data.name}: {len(notes)} rows in {len(np.unique(groups))} groups cannot be split with --test "
            f"{settings.share:g}. Give more rows, or group by another column."
        )
    train, test, lines = _paths_of(data, is_parquet=formats == {True}, is_packed=sources[0].path.suffix == ".gz")
    as_written = [replace(source, table=replace(table, names=AS_WRITTEN)) for source in sources]
    write = _write_parquet if formats == {True} else _write_csv
    write(as_written, (train, test), in_test)
    names_images = _write_lines(sources, lines, in_test)
    sizes, rows = np.bincount(groups), Counter(in_test.tolist())
    linked = int(sizes[sizes > 1].sum())
    return Split(train, test, lines, notes.counts(in_test), rows[False], rows[True], linked, names_images)


def _names_with_kinds(table: TableFormat, data: Path) -> ColumnNames:
    """Return the names with the kinds of all columns, which reading a Parquet file needs. Dates stay dates."""
    return replace(table.names.with_kinds(find_kinds(table, data).kinds), keeps_dates=True)


class _Notes:
    """The label of each row, and the keys that link the row with others."""

    def __init__(self) -> None:
        self._labels: dict[str, int] = {}
        self._label_of = array("i")
        self._rows = array("Q")
        self._group = array("Q")
        self._long = (array("Q"), array("Q"))

    @classmethod
    def of(cls, sources: Sequence[Source], group: Sequence[str]) -> _Notes:
        """Read the rows of all files. `group` are the columns whose equal values stay together."""
        notes = cls()
        for header, rows in _tables(sources):
            notes._require((LABEL, *group), header, sources[0])
            label = header.index(LABEL)
            groups = [header.index(name) for name in group]
            features = [place for place, name in enumerate(header) if name not in (LABEL, ID)]
            for cells in rows:
                notes._add(trimmed(str(cells[label])), [cells[place] for place in features])
                if groups and any(cells[place] for place in groups):
                    notes._group.append(_key("\x1f".join(_text(cells[place]) for place in groups)))
                elif groups:
                    notes._group.append(0)
        if not len(notes):
            raise UserError(f"{sources[0].name}: there is no row. Put rows below the header.")
        return notes

    def __len__(self) -> int:
        return len(self._label_of)

    def _require(self, columns: Sequence[str], header: Sequence[str], source: Source) -> None:
        if missing := [column for column in columns if column not in header]:
            own = source.table.names.own
            hint = " Name the column to predict with --label." if missing[0] == LABEL else ""
            known = listed([own(column) for column in header])
            raise UserError(f"{source.name}: there is no column '{own(missing[0])[:60]}' among {known}.{hint}")

    def _add(self, label: str, features: Sequence[Any]) -> None:
        row = len(self._label_of)
        self._label_of.append(self._labels.setdefault(label, len(self._labels)))
        texts = [_text(cell) for cell in features]
        self._rows.append(_key("\x1f".join(texts)))
        for text in texts:
            if len(text) >= _LONG_BYTES:
                self._long[0].append(row)
                self._long[1].append(_key(text))

    def keys(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the keys that link rows, see `linked_groups`."""
        every = np.arange(len(self))
        linking = [(every, np.asarray(self._rows))]
        if self._group:
            group = np.asarray(self._group)
            linking.append((every[group != 0], group[group != 0]))
        positions, values = np.asarray(self._long[0]), np.asarray(self._long[1])
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        few = counts[inverse] <= _MOST_DUPLICATES
        return [*linking, (positions[few], values[few])]

    def _names(self) -> dict[str, int]:
        """Return the class index of each label. Different spellings of a class have the same index."""
        keys = label_keys([label for label in self._labels if label])
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys.values()))}
        return {label: numbers[keys[label]] if label else NO_CLASS for label in self._labels}

    def _are_numbers(self) -> bool:
        counts = Counter(np.asarray(self._label_of).tolist())
        by_label = {label: counts[number] for label, number in self._labels.items() if label}
        return detect_problem_type(class_counts(by_label)) == "regression"

    def classes(self) -> np.ndarray:
        """Return the class index of each row, int64 (rows,). If labels are numbers, return the tenth of each label."""
        label_of = np.asarray(self._label_of)
        if not self._are_numbers():
            return np.array(list(self._names().values()), dtype=np.int64)[label_of]
        numbers = np.array([number_of(label) if label else np.nan for label in self._labels], dtype=float)[label_of]
        classes = np.full(len(self), NO_CLASS, dtype=np.int64)
        classes[~np.isnan(numbers)] = bins_of_numbers(numbers[~np.isnan(numbers)])
        return classes

    def counts(self, in_test: np.ndarray) -> dict[str, tuple[int, int]]:
        """Return the number of training rows and of test rows of each class."""
        if self._are_numbers():
            return {}
        classes = self._names()
        number = np.array(list(classes.values()))[np.asarray(self._label_of)]
        counts: dict[str, tuple[int, int]] = {}
        for each in dict.fromkeys(classes.values()):
            spellings = [label for label, key in classes.items() if key == each]
            rows = number == each
            counts[spellings[0]] = int((rows & ~in_test).sum()), int((rows & in_test).sum())
        return dict(sorted(counts.items(), key=lambda item: (-sum(item[1]), item[0])))


def _tables(sources: Sequence[Source]) -> Iterator[tuple[list[str], Iterator[list[Any]]]]:
    """Yield the header and the rows of each file. All files must have the same header.

    Raises
    ------
    UserError
        A header differs from the first, or a row has another number of fields.
    """
    first: list[str] = []
    for source in sources:
        rows = read_rows(source)
        if (row := next(rows, None)) is None:
            continue
        header = [str(name) for name in row.fields]
        if first and header != first:
            raise UserError(f"{source.name}: its header differs from that of {sources[0].name}. Give all files one.")
        first = header

        def cells(rows: Iterator[Any] = rows, header: list[str] = header, name: str = source.name) -> Iterator[Any]:
            for row in rows:
                if len(row.fields) != len(header):
                    raise UserError(
                        f"{name}, row {row.number} (line {row.line}): {len(row.fields)} fields instead of "
                        f"{len(header)}. `multimodal-algo validate` lists all such rows."
                    )
                if row.fields != header:  # of a file that was joined to another
                    yield row.fields

        yield header, cells()


def _paths_of(data: Path, *, is_parquet: bool, is_packed: bool) -> tuple[Path, Path, Path]:
    stem = data.name.removesuffix(".gz").removesuffix(".csv").removesuffix(".parquet")
    ending = ".parquet" if is_parquet else ".csv.gz" if is_packed else ".csv"
    names = (f"{stem}_train{ending}", f"{stem}_test{ending}", f"{stem}_test_noheader.csv")
    train, test, lines = (data.absolute().parent / name for name in names)
    return train, test, lines


def _write_csv(sources: Sequence[Source], paths: Sequence[Path], in_test: np.ndarray) -> None:
    delimiter = sources[0].table.delimiter
    with ExitStack() as stack:
        streams = [stack.enter_context(complete_text(path)) for path in paths]
        number = 0
        for header, rows in _tables(sources):
            if not number:
                for stream in streams:
                    stream.write(csv_record(header, delimiter))
            for cells in rows:
                streams[int(in_test[number])].write(csv_record(cells, delimiter))
                number += 1


def _write_parquet(sources: Sequence[Source], paths: Sequence[Path], in_test: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from multimodal_algo.ingest.parquet import open_parquet

    with ExitStack() as stack:
        targets = [stack.enter_context(complete_file(path)) for path in paths]
        writers: list[pq.ParquetWriter] = []
        number = 0
        for source in sources:
            file = stack.enter_context(open_parquet(source.path))
            if not writers:
                writers = [stack.enter_context(pq.ParquetWriter(target, file.schema_arrow)) for target in targets]
            for batch in file.iter_batches():
                chosen = in_test[number : number + batch.num_rows]
                number += batch.num_rows
                for writer, rows in zip(writers, (~chosen, chosen), strict=True):
                    part = batch.filter(pa.array(rows)).cast(writer.schema)
                    if part.num_rows:
                        writer.write_batch(part)


def _write_lines(sources: Sequence[Source], path: Path, in_test: np.ndarray) -> bool:
    """Write the test rows as lines for inference, and return whether they name image files."""
    names_images = False
    with complete_text(path) as stream:
        number = 0
        for header, rows in _tables(sources):
            used = [place for place, name in enumerate(header) if name != LABEL]
            images = [place for place, name in enumerate(header) if modality_of(name) is Modality.IMAGE]
            for cells in rows:
                if in_test[number]:
                    stream.write(csv_record([on_one_line(_cell(cells[place])) for place in used]))
                    names_images = names_images or any(names_a_file(_cell(cells[place])) for place in images)
                number += 1
    return names_images


def _cell(cell: Any) -> str:
    """Return a cell as text for CSV. The bytes of an image become base64."""
    if isinstance(cell, SeveralImages):
        return ";".join(map(_cell, cell.images))
    return base64.b64encode(cell).decode() if isinstance(cell, bytes) else str(cell)


def _text(cell: Any) -> str:
    """Return a form of the cell for comparison. Case and blanks do not matter in it."""
    text = _cell(cell)
    return text if len(text) > _LONG_BYTES and " " not in text else " ".join(text.split()).casefold()


def _key(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") or 1


def sentences_of(split: Split) -> Iterator[str]:
    """Yield lines for the terminal that describe the split: the rows of each class, and the files."""
    if split.counts:
        width = max(len("class"), *(len(label) for label, _ in _shown(split)))
        yield f"{'class':{width}}   train    test"
        for label, (train, test) in _shown(split):
            yield f"{label:{width}} {train:>7,} {test:>7,}"
        if (more := len(split.counts) - _SHOWN_CLASSES) > 0:
            yield f"and {more:,} more classes"
    if split.linked:
        yield f"{split.linked:,} rows share their content or group with another row, which is on the same side"
    yield f"{split.train}: {split.train_rows:,} rows for training"
    yield f"{split.test}: {split.test_rows:,} rows with labels, for score"
    yield f"{split.lines}: the same rows without header and label, for transform"
    if split.names_images:
        yield "Its images are names of files. `multimodal-algo prepare --model --images` writes lines with the images"


def _shown(split: Split) -> list[tuple[str, tuple[int, int]]]:
    return [(label[:40], counts) for label, counts in list(split.counts.items())[:_SHOWN_CLASSES]]
