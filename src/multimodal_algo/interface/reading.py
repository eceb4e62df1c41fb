"""Reads the rows of a data frame for a model: as features, votes and labels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target
from multimodal_algo.core.schema import ID, LABEL
from multimodal_algo.core.values import trimmed
from multimodal_algo.fusion.votes import Votes
from multimodal_algo.ingest.features import Features
from multimodal_algo.interface.frames import cells_of, frame_of, table_of
from multimodal_algo.serving.loaded_model import LoadedModel

_BATCH = 256


class RowReader:
    """Turns the rows of a data frame into features and votes, in batches of 256 rows.

    Parameters
    ----------
    model
        The model that reads the rows.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._names = model.names

    def votes(self, frame: pd.DataFrame, on_bad_row: str) -> Iterator[tuple[np.ndarray, Votes]]:
        """Yield batches of readable rows: the indices of the rows, int (n,), and the votes for them."""
        if on_bad_row not in ("error", "empty"):
            raise UserError(f"on_bad_row is '{on_bad_row}': it must be error or empty.")
        for rows, features in self._read(table_of(frame, self._names), refuse=on_bad_row == "error"):
            yield rows, self._model.votes(features)

    def labelled(self, data: Any) -> tuple[pa.Table, np.ndarray]:
        """Return the rows as a table, and their labels: class indices, int64 (rows,), or numbers, float64 (rows,)."""
        table = table_of(frame_of(data), self._names)
        labels = [trimmed(str(label)) for (label,) in cells_of(table, [LABEL], self._names)]
        target = Target(self._model.task, self._model.classes, np.empty(0))
        targets = target.values_of(labels)
        if self._model.classes and (
            unknown := [label for label, number in zip(labels, targets, strict=True) if number < 0]
        ):
            raise UserError(f"The label '{unknown[0][:60]}' is not a class of the model.")
        return table, targets

    def _read(self, table: pa.Table, *, refuse: bool) -> Iterator[tuple[np.ndarray, Features]]:
        """Yield the readable rows in batches: the indices of the rows, int (n,), and their features."""
        rows = enumerate(self._rows(table))
        while batch := list(islice(rows, _BATCH)):
            features, problems = self._model.features([cells for _, cells in batch])
            if refuse and any(problems):
                row = next(number for number, problem in enumerate(problems) if problem)
                raise UserError(f"Row {batch[row][0]}: {problems[row]}. on_bad_row='empty' answers the other rows.")
            readable = [number for (number, _), problem in zip(batch, problems, strict=True) if problem is None]
            if readable:
                yield np.array(readable), features

    def _rows(self, table: pa.Table) -> Iterator[list[Any]]:
        """Yield the cells of each row, in the order of lines for inference. The ID is empty."""
        schema = self._model.schema
        for cells in cells_of(table, schema.features, self._names):
            values = iter(cells)
            yield ["" if column == ID else next(values) for column in schema.inference_columns]

    def features(self, table: pa.Table) -> Features:
        """Return the features of all rows. Raise an error if a row cannot be read."""
        if not table.num_rows:
            raise UserError("The data have no row.")
        return Features.joined([features for _, features in self._read(table, refuse=True)])
