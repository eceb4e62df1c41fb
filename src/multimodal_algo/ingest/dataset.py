"""A dataset on disk: one Parquet table and one array of vectors per image and text column, written in chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.ingest.pictures import PictureColumn
from multimodal_algo.schema import ID, LABEL, FeatureSchema, Modality


@dataclass(frozen=True)
class Dataset:
    """Training rows.

    Parameters
    ----------
    schema
        The columns.
    features
        The rows; vectors are memory maps of the scratch directory.
    labels
        The label of each row, spelled as in the file.
    path
        The Parquet table, which has the IDs too: nothing is learnt from them, so they stay there.
    probe
        The parsed cells of a few rows by column, images and all: to see whether other ways to run networks agree.
    largest_row
        See `findings.Inspection`.
    """

    schema: FeatureSchema
    features: Features
    labels: tuple[str, ...]
    path: Path
    probe: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    largest_row: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def names(self) -> list[str]:
        """What to call each row: its ID, or without such a column its number among the rows kept, from 1."""
        if not self.schema.has_id:
            return [str(number) for number in range(1, len(self) + 1)]
        return pq.read_table(self.path, columns=[ID])[ID].to_pylist()


class DatasetWriter:
    """Appends chunks to a scratch directory; `dataset` reads them back after `close`."""

    def __init__(self, schema: FeatureSchema, directory: Path) -> None:
        self._schema = schema
        self._directory = directory
        self._table = directory / "table.parquet"
        self._parquet: pq.ParquetWriter | None = None
        self._vectors = {column: (directory / f"{n}.f16").open("wb") for n, column in enumerate(self._vector_columns)}
        self._indices: dict[str, list[np.ndarray]] = {column: [] for column in self._vector_columns}
        self._written = dict.fromkeys(self._vector_columns, 0)
        self._widths: dict[str, int] = {}
        images = enumerate(schema.of(Modality.IMAGE))
        self._pictures = {column: (directory / f"{n}.jpegs").open("wb") for n, column in images}
        self._spans: dict[str, list[np.ndarray]] = {column: [] for column in self._pictures}

    def close(self) -> None:
        """Finish the files; `dataset` needs it."""
        if self._parquet is not None:
            self._parquet.close()
        for stream in [*self._vectors.values(), *self._pictures.values()]:
            stream.close()

    def append(self, features: Features, labels: Sequence[str], ids: Sequence[str] | None) -> None:
        """Add a chunk of rows."""
        frame = features.table.assign(**{LABEL: list(labels)})
        if ids is not None:
            frame = frame.assign(**{ID: list(ids)})
        table = pa.Table.from_pandas(frame, preserve_index=False, schema=self._arrow_schema())
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._table, table.schema)
        self._parquet.write_table(table)
        for column, cells in features.vectors.items():
            self._widths[column] = cells.vectors.shape[1]
            self._vectors[column].write(np.ascontiguousarray(cells.vectors).tobytes())
            self._indices[column].append(np.where(cells.present, cells.index + self._written[column], -1))
            self._written[column] += len(cells.vectors)
        for column, pictures in features.pictures.items():
            self._spans[column].append(pictures.spans + self._pictures[column].tell())
            self._pictures[column].write(pictures.data.tobytes())

    def dataset(self) -> Dataset:
        """The rows written; call it after `close`, once at least one chunk was appended."""
        # Arrow's copy goes column by column as pandas' is made.
        table = pq.read_table(self._table, columns=[name for name in self._arrow_schema().names if name != ID])
        frame = table.to_pandas(split_blocks=True, self_destruct=True)
        del table
        labels = tuple(frame.pop(LABEL))
        if frame.empty:
            frame = pd.DataFrame(index=pd.RangeIndex(len(labels)))
        vectors = {
            column: VectorColumn(
                _mapped(self._vectors[column].name, np.float16, (self._written[column], self._widths[column])),
                np.concatenate(self._indices[column]),
            )
            for column in self._vector_columns
        }
        pictures = {
            column: PictureColumn(_mapped(stream.name, np.uint8, (-1,)), np.concatenate(self._spans[column]))
            for column, stream in self._pictures.items()
        }
        return Dataset(self._schema, Features(frame, vectors, pictures), labels, self._table)

    @property
    def _vector_columns(self) -> tuple[str, ...]:
        return (*self._schema.of(Modality.TEXT), *self._schema.of(Modality.IMAGE))

    def _arrow_schema(self) -> pa.Schema:
        # Declared, not inferred per chunk: a chunk of empty cells must not change a column's type.
        numbers = set(self._schema.of(Modality.NUM))
        features = [c for c in self._schema.features if c not in self._schema.of(Modality.IMAGE)]
        columns = [*features, LABEL, *([ID] if self._schema.has_id else [])]
        return pa.schema([(c, pa.float64() if c in numbers else pa.string()) for c in columns])


def _mapped(path: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    if not Path(path).stat().st_size:  # an empty file cannot be mapped
        return np.empty([max(size, 0) for size in shape], dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r").reshape(shape)
