"""Keys for the columns in the hyperparameter ``group_by``. Rows with the same key are held out together."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.keys import vector_columns


def check_group_columns(schema: FeatureSchema, columns: Sequence[str]) -> None:
    """Raise an error if a column that ``group_by`` names is not a feature column.

    Raises
    ------
    UserError
        There is no such column. The message proposes the most similar one.
    """
    for column in columns:
        if column not in schema.features:
            folded = {name.casefold(): name for name in schema.features}
            close = difflib.get_close_matches(column.casefold(), list(folded), n=1, cutoff=0.5)
            hint = f"Did you mean '{folded[close[0]][:60]}'?" if close else "Name columns of texts, numbers and so on."
            raise UserError(
                f"The hyperparameter group_by names '{column[:60]}', which is not a feature column of the training "
                f"data. {hint}"
            )


def with_group_keys(dataset: Dataset, columns: Sequence[str]) -> Dataset:
    """Return the dataset with one more key per row (a hash of the value) for each of `columns`.

    A missing cell has key 0.

    Values are compared as models see them, see `Dataset.with_number_categories`.
    """
    if not columns:
        return dataset
    alone = vector_columns(dataset.schema)
    added = [
        dataset.keys[:, 1 + alone.index(column)] if column in alone else _keys(dataset, column) for column in columns
    ]
    return replace(dataset, keys=np.column_stack([dataset.keys, *added]), group_columns=tuple(columns))


def _keys(dataset: Dataset, column: str) -> np.ndarray:
    filled = dataset.features.filled(column)
    codes, values = pd.factorize(dataset.features.cells[column][filled])
    keys = np.zeros(len(dataset), dtype=np.uint32)
    keys[filled] = np.array([_key(column, value) for value in values], dtype=np.uint32)[codes]
    return keys


def _key(column: str, value: object) -> int:
    # -0.0 and 0.0 are one number.
    text = f"{column}\x1f{value + 0.0 if isinstance(value, float) else value}"
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "little") or 1
