"""A dataset on disk, written in chunks of rows: a Parquet table, and vectors and pictures of text and image columns.

::

    dataset.json                 columns, widths of vectors and the largest row. Written last
    table.parquet                texts, numbers, categories, labels and IDs
    keys.npy                     hashes of each row, see `row_keys`
    <n>.f16  <n>.index.npy       vectors of the n-th text or image column, and the position of each row's vector
    <n>.jpegs  <n>.spans.npy     pictures of the n-th image column, and the span of each row's picture
    warnings.json                warnings about the rows, for the report, where there are any
    probe.json  <n>.probe.npz    parsed cells of a few rows, and images of the n-th image column
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multimodal_algo.core.files import move_files
from multimodal_algo.core.schema import ID, LABEL, FeatureSchema, Modality
from multimodal_algo.core.values import are_numbers, in_number_column
from multimodal_algo.ingest.decoded import DecodedImages
from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.ingest.keys import vector_columns
from multimodal_algo.ingest.pictures import PictureColumn

_DESCRIPTION = "dataset.json"
_TABLE = "table.parquet"
_KEYS = "keys.npy"
_PROBE = "probe.json"
_WARNINGS = "warnings.json"
_COPIED_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Dataset:
    """The rows of a channel, read from a dataset on disk.

    Parameters
    ----------
    schema
        The columns.
    features
        The feature columns of the rows. Vectors and pictures are memory maps of files.
    labels
        Label of each row, spelled as in the file.
    path
        Parquet table. It also has the IDs, which stay on disk because models do not learn from them.
    probe
        Parsed cells of a few rows by column, with images. They show whether two engines compute a network equally.
    largest_row
        Number of characters in the largest row, see `findings.Inspection`.
    keys
        Hashes of each row, see `row_keys`, and one more hash for each of `group_columns`.
    number_categories
        Category columns in which each number has one spelling, see `with_number_categories`.
    warnings
        Warnings about the rows, see `Inspection`.
    group_columns
        Columns whose values are new at inference, see `groups.with_group_keys`.
    """

    schema: FeatureSchema
    features: Features
    labels: tuple[str, ...]
    path: Path
    probe: Mapping[str, Sequence[Any]]
    largest_row: int
    keys: np.ndarray
    number_categories: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    group_columns: tuple[str, ...] = ()

    @classmethod
    def read(cls, directory: Path) -> Dataset:
        """Read the rows that a `DatasetWriter` wrote into `directory`."""
        description = _Description.read(directory)
        schema = description.schema
        # Column by column, pandas' copy replaces Arrow's copy, so memory holds the table once.
        columns = [name for name in _arrow_schema(schema).names if name != ID]
        table = pq.read_table(directory / _TABLE, columns=columns)
        frame = table.to_pandas(split_blocks=True, self_destruct=True)
        del table
        labels = tuple(frame.pop(LABEL))
        cells = {column: frame.pop(column).to_numpy() for column in frame.columns.tolist()}
        vectors = {
            column: VectorColumn(
                _mapped(directory / f"{n}.f16", np.float16, (-1, description.widths[column])),
                np.load(directory / f"{n}.index.npy"),
            )
            for n, column in enumerate(vector_columns(schema))
        }
        pictures = {
            column: PictureColumn(
                _mapped(directory / f"{n}.jpegs", np.uint8, (-1,)), np.load(directory / f"{n}.spans.npy")
            )
            for n, column in enumerate(schema.of(Modality.IMAGE))
        }
        return cls(
            schema,
            Features(cells, len(labels), vectors, pictures),
            labels,
            directory / _TABLE,
            _read_probe(directory, schema),
            description.largest_row,
            np.load(directory / _KEYS),
            warnings=read_warnings(directory),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def find_number_categories(self) -> frozenset[str]:
        """Return the category columns whose values are numbers, see `are_numbers`."""
        cells = self.features.cells
        return frozenset(c for c in self.schema.of(Modality.CAT) if are_numbers(dict.fromkeys(cells[c])))

    def with_number_categories(self, columns: frozenset[str]) -> Dataset:
        """Return the dataset with each number spelled in one way in these category columns: ``1`` for ``1.0``."""
        cells = dict(self.features.cells)
        for column in sorted(columns):
            form_of = {value: in_number_column(value) for value in dict.fromkeys(cells[column])}
            cells[column] = np.array([form_of[value] for value in cells[column]], dtype=object)
        features = replace(self.features, cells=cells)
        return replace(self, features=features, number_categories=columns)

    def names(self) -> list[str]:
        """Return a name for each row: its ID. Without IDs, it is the number of the row, from 1."""
        if not self.schema.has_id:
            return [str(number) for number in range(1, len(self) + 1)]
        return pq.read_table(self.path, columns=[ID])[ID].to_pylist()


class DatasetWriter:
    """Writes a dataset in chunks of rows. After `close`, `Dataset.read` reads it.

    Parameters
    ----------
    schema
        The columns.
    directory
        Directory for the dataset, which exists.
    """

    def __init__(self, schema: FeatureSchema, directory: Path) -> None:
        self._schema = schema
        self._directory = directory
        self._parquet: pq.ParquetWriter | None = None
        self._vectors = {c: (directory / f"{n}.f16").open("wb") for n, c in enumerate(vector_columns(schema))}
        self._indices: dict[str, list[np.ndarray]] = {column: [] for column in self._vectors}
        self._written = dict.fromkeys(self._vectors, 0)
        self._widths: dict[str, int] = {}
        images = enumerate(schema.of(Modality.IMAGE))
        self._pictures = {column: (directory / f"{n}.jpegs").open("wb") for n, column in images}
        self._spans: dict[str, list[np.ndarray]] = {column: [] for column in self._pictures}
        self._keys: list[np.ndarray] = []
        self._is_closed = False

    def append(self, features: Features, labels: Sequence[str], ids: Sequence[str] | None, keys: np.ndarray) -> None:
        """Add a chunk of rows to the dataset. Keys are hashes of the rows, uint32 (rows, n), see `row_keys`."""
        written = {**features.cells, LABEL: list(labels), **({} if ids is None else {ID: list(ids)})}
        schema = _arrow_schema(self._schema)
        # A missing number is NaN here, and null in the file.
        arrays = [pa.array(written[field.name], field.type, from_pandas=True) for field in schema]
        self._add_table(pa.Table.from_arrays(arrays, schema=schema))
        for column, cells in features.vectors.items():
            self._add_index(column, cells.index, *cells.vectors.shape)
            self._vectors[column].write(np.ascontiguousarray(cells.vectors).tobytes())
        for column, pictures in features.pictures.items():
            self._add_spans(column, pictures.spans)
            self._pictures[column].write(pictures.data.tobytes())
        self._keys.append(keys)

    def extend(self, directory: Path, picture_rows: int | None = None) -> int:
        """Add the rows of another dataset on disk, of which only keys, indices and spans are read into memory.

        Parameters
        ----------
        directory
            Directory of a dataset with the same columns, and with vectors of the same networks.
        picture_rows
            Number of rows, from the first, whose pictures are added. None adds all pictures.

        Returns
        -------
        int
            Number of rows added.

        Raises
        ------
        ValueError
            The vectors have another width.
        """
        description = _Description.read(directory)
        with pq.ParquetFile(directory / _TABLE) as table:
            for group in range(table.num_row_groups):
                self._add_table(table.read_row_group(group))
        for n, (column, vectors) in enumerate(self._vectors.items()):
            path, width = directory / f"{n}.f16", description.widths[column]
            count = path.stat().st_size // (np.dtype(np.float16).itemsize * width)
            self._add_index(column, np.load(directory / f"{n}.index.npy"), count, width)
            _copy(path, vectors)
        for n, (column, jpegs) in enumerate(self._pictures.items()):
            spans = np.load(directory / f"{n}.spans.npy")
            spans[len(spans) if picture_rows is None else picture_rows :] = 0
            end = jpegs.tell() + int(spans.max(initial=0))
            self._add_spans(column, spans)
            if end > jpegs.tell():
                _copy(directory / f"{n}.jpegs", jpegs)
                jpegs.seek(end)
                jpegs.truncate()
        self._keys.append(np.load(directory / _KEYS))
        return len(self._keys[-1])

    def abandon(self) -> None:
        """Remove the files of a dataset that is not closed. A closed dataset stays."""
        if not self._is_closed:
            self._end()
            for n in range(len(self._vectors)):
                (self._directory / f"{n}.f16").unlink()
            for n in range(len(self._pictures)):
                (self._directory / f"{n}.jpegs").unlink()
            (self._directory / _TABLE).unlink(missing_ok=True)

    def close(self, probe: Mapping[str, Sequence[Any]], largest_row: int) -> None:
        """Finish the files of the dataset, which has at least one chunk. `Dataset` explains the parameters."""
        self._end()
        for n, indices in enumerate(self._indices.values()):
            np.save(self._directory / f"{n}.index.npy", np.concatenate(indices))
        for n, spans in enumerate(self._spans.values()):
            np.save(self._directory / f"{n}.spans.npy", np.concatenate(spans))
        np.save(self._directory / _KEYS, np.concatenate(self._keys))
        _write_probe(self._directory, self._schema, probe)
        _Description(self._schema, self._widths, largest_row).write(self._directory)
        self._is_closed = True

    def _add_table(self, table: pa.Table) -> None:
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._directory / _TABLE, table.schema)
        self._parquet.write_table(table)

    def _add_index(self, column: str, index: np.ndarray, count: int, width: int) -> None:
        if self._widths.setdefault(column, width) != width:
            raise ValueError(f"{column}: vectors of {width} numbers after some of {self._widths[column]}")
        self._indices[column].append(np.where(index >= 0, index + self._written[column], -1))
        self._written[column] += count

    def _add_spans(self, column: str, spans: np.ndarray) -> None:
        # A row without a picture has the span 0, 0 in every chunk.
        is_filled = spans[:, :1] < spans[:, 1:]
        self._spans[column].append(np.where(is_filled, spans + self._pictures[column].tell(), 0))

    def _end(self) -> None:
        if self._parquet is not None:
            self._parquet.close()
        for stream in [*self._vectors.values(), *self._pictures.values()]:
            stream.close()


def write_warnings(warnings: Sequence[str], directory: Path) -> None:
    """Store warnings about the rows in the directory of a finished dataset."""
    if warnings:
        (directory / _WARNINGS).write_text(json.dumps(list(warnings), ensure_ascii=False), encoding="utf-8")


def read_warnings(directory: Path) -> tuple[str, ...]:
    """Return the warnings that `write_warnings` has stored in a dataset's directory."""
    path = directory / _WARNINGS
    return tuple(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else ()


def join_datasets(parts: Sequence[Path], directory: Path, largest_row: int, picture_rows: int | None = None) -> None:
    """Join several datasets on disk into one, in their order.

    Parameters
    ----------
    parts
        Directories of one or more datasets with the same columns. The files of a single dataset are moved. Those of
        several datasets are copied.
    directory
        Directory for the joined dataset, which exists. It may be the directory of a single part.
    largest_row
        See `Dataset`.
    picture_rows
        Number of rows, from the first, whose pictures are copied. None copies all pictures. A single part must not have
        more pictures than that.

    Raises
    ------
    ValueError
        Parts have vectors of different widths.
    """
    description = _Description.read(parts[0])
    if len(parts) == 1:
        if parts[0] != directory:
            move_files(parts[0], directory)
        _Description(description.schema, description.widths, largest_row).write(directory)
        return
    writer = DatasetWriter(description.schema, directory)
    try:
        rows = 0
        for part in parts:
            rows += writer.extend(part, None if picture_rows is None else max(picture_rows - rows, 0))
        writer.close(_read_probe(parts[0], description.schema), largest_row)
    finally:
        writer.abandon()


@dataclass(frozen=True)
class _Description:
    """The content of ``dataset.json``. `widths` has the length of the vectors of each column."""

    schema: FeatureSchema
    widths: Mapping[str, int]
    largest_row: int

    @classmethod
    def read(cls, directory: Path) -> _Description:
        content = json.loads((directory / _DESCRIPTION).read_text(encoding="utf-8"))
        return cls(FeatureSchema(tuple(content["columns"])), content["widths"], content["largest_row"])

    def write(self, directory: Path) -> None:
        content = {"columns": self.schema.columns, "widths": self.widths, "largest_row": self.largest_row}
        (directory / _DESCRIPTION).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _copy(path: Path, stream: IO[bytes]) -> None:
    with path.open("rb") as source:
        shutil.copyfileobj(source, stream, _COPIED_BYTES)


def _arrow_schema(schema: FeatureSchema) -> pa.Schema:
    # The types are declared, since Arrow would infer another type from a chunk of empty cells.
    numbers = set(schema.of(Modality.NUM))
    features = [c for c in schema.features if c not in schema.of(Modality.IMAGE)]
    columns = [*features, LABEL, *([ID] if schema.has_id else [])]
    return pa.schema([(c, pa.float64() if c in numbers else pa.string()) for c in columns])


def _write_probe(directory: Path, schema: FeatureSchema, probe: Mapping[str, Sequence[Any]]) -> None:
    images = schema.of(Modality.IMAGE)
    plain = {column: list(cells) for column, cells in probe.items() if column not in images}
    (directory / _PROBE).write_text(json.dumps(plain), encoding="utf-8")
    for n, column in enumerate(images):
        arrays = {
            f"{row}-{number}": image for row, cell in enumerate(probe[column]) for number, image in enumerate(cell)
        }
        np.savez(directory / f"{n}.probe.npz", rows=np.array(len(probe[column])), **arrays)


def _read_probe(directory: Path, schema: FeatureSchema) -> dict[str, Sequence[Any]]:
    probe: dict[str, Sequence[Any]] = json.loads((directory / _PROBE).read_text(encoding="utf-8"))
    for n, column in enumerate(schema.of(Modality.IMAGE)):
        with np.load(directory / f"{n}.probe.npz") as stored:
            cells: list[list[np.ndarray]] = [[] for _ in range(int(stored["rows"]))]
            for key in stored.files:
                if key != "rows":
                    cells[int(key.partition("-")[0])].append(stored[key])
        probe[column] = [DecodedImages(images) for images in cells]
    return probe


def _mapped(path: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    if not path.stat().st_size:  # an empty file cannot be mapped
        return np.empty([max(size, 0) for size in shape], dtype=dtype)
    # A plain array can be pickled without a copy.
    return np.asarray(np.memmap(path, dtype=dtype, mode="r")).reshape(shape)
