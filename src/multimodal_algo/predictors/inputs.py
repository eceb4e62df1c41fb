"""The input columns of a branch's models, without pandas, whose import takes a third of a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from multimodal_algo.ingest.features import VectorColumn

if TYPE_CHECKING:
    import pandas as pd

VECTOR = ".vector"
"""The end of the name of a column of vectors."""


@dataclass(frozen=True)
class CategoryCells:
    """The cells of a category column, as numbers for the values.

    Parameters
    ----------
    codes
        Position of each cell's value in `names`, int (rows,). It is -1 for a missing value.
    names
        The different values of the column.
    """

    codes: np.ndarray
    names: Sequence[Any]

    @classmethod
    def of(cls, values: Sequence[str] | np.ndarray) -> CategoryCells:
        """Return a category column whose cells have these values."""
        numbers = {name: number for number, name in enumerate(dict.fromkeys(values))}
        return cls(np.fromiter(map(numbers.__getitem__, values), np.int64, len(values)), tuple(numbers))

    def renumbered(self, code_of: Mapping[Any, int], names: Sequence[Any]) -> CategoryCells:
        """Return the same cells with other numbers for their values. `code_of` gives the number of a value.

        A value without a number there becomes missing. `names` has the values in the order of the new numbers.
        """
        codes = np.array([*(code_of.get(name, -1) for name in self.names), -1], dtype=np.int64)
        return CategoryCells(codes[self.codes], names)

    def __len__(self) -> int:
        return len(self.codes)


Column = np.ndarray | CategoryCells | VectorColumn
"""Numbers, float (rows,), with NaN for a missing one. Texts, str objects (rows,). Categories. Vectors."""


@dataclass(frozen=True)
class Inputs:
    """Input columns of a branch (partial model), all with the same number of rows.

    Parameters
    ----------
    columns
        Columns by name. The name of a column of vectors ends with `VECTOR`.
    rows
        Number of rows.
    """

    columns: Mapping[str, Column]
    rows: int

    def __len__(self) -> int:
        return self.rows

    def vectors(self, name: str) -> VectorColumn:
        """Return the column of vectors that has this name."""
        column = self.columns[name]
        assert isinstance(column, VectorColumn)
        return column

    def numbers(self, name: str) -> np.ndarray:
        """Return a column of numbers, or the codes of a category column, float (rows,). A missing cell is NaN."""
        column = self.columns[name]
        if isinstance(column, CategoryCells):
            return np.where(column.codes < 0, np.nan, column.codes)
        assert isinstance(column, np.ndarray)
        return column

    def texts(self) -> list[np.ndarray]:
        """Return all columns of texts."""
        columns = [column for column in self.columns.values() if isinstance(column, np.ndarray)]
        return [column for column in columns if column.dtype == object]

    @classmethod
    def of(cls, table: Table) -> Inputs:
        """Return the columns of a pandas table of the form that `frame` makes. `Inputs` are returned as they are."""
        if isinstance(table, Inputs):
            return table
        return cls({str(name): _column(str(name), table[name]) for name in table.columns}, len(table))

    def frame(self) -> pd.DataFrame:
        """Return the columns as a pandas table.

        A vector becomes one cell: the bytes of its float16 numbers, or None if there is no vector. AutoGluon often
        copies tables. It then copies one reference per vector instead of a thousand numbers.
        """
        import pandas as pd  # serving does without it

        series = {name: _series(column) for name, column in self.columns.items()}
        return pd.DataFrame(series, index=pd.RangeIndex(self.rows))


Table: TypeAlias = "pd.DataFrame | Inputs"
"""Columns as `Inputs`, or as the table that AutoGluon takes."""


def _series(column: Column) -> Any:
    import pandas as pd

    if isinstance(column, CategoryCells):
        return pd.Categorical(np.array([*column.names, None], dtype=object)[column.codes])
    if isinstance(column, VectorColumn):
        cells = [None if index < 0 else column.vectors[index].tobytes() for index in column.index.tolist()]
        return pd.Series(cells, dtype=object)
    return pd.Series(column)


def _column(name: str, cells: pd.Series) -> Column:
    if name.endswith(VECTOR):
        return _vectors(cells)
    if cells.dtype.name == "category":
        return CategoryCells(cells.cat.codes.to_numpy().astype(np.int64), cells.cat.categories.tolist())
    return cells.to_numpy()


def _vectors(cells: pd.Series) -> VectorColumn:
    present = cells.notna().to_numpy()
    stored = cells.to_numpy()[present]
    width = len(stored[0]) // 2 if len(stored) else 0
    vectors = np.frombuffer(b"".join(stored), dtype=np.float16).reshape(len(stored), width)
    return VectorColumn(vectors, np.where(present, np.cumsum(present) - 1, -1))


def objects(cells: Sequence[Any]) -> np.ndarray:
    """Return cells as an array of Python objects, (rows,). A cell that is a list stays one element."""
    column = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(cells):
        column[row] = cell
    return column


def frame_of(table: Table) -> pd.DataFrame:
    """Return columns as a pandas table, see `Inputs.frame`. A pandas table is returned as it is."""
    return table.frame() if isinstance(table, Inputs) else table
