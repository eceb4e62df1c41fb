"""Permutation importance: how much worse predictions become if the values of some columns are shuffled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.core.metrics import Metric
from multimodal_algo.ingest.features import Features

if TYPE_CHECKING:
    import pandas as pd

_LEVEL = 0.975


@dataclass(frozen=True)
class Importance:
    """The importance of one column.

    Parameters
    ----------
    column
        Name of the column in the user's table.
    modality
        Modality of the column.
    loss
        How much worse the job's metric becomes if the column is shuffled. It is above 0 if the column helps.
    low, high
        Bounds of the 95 % interval of `loss`.
    """

    column: str
    modality: str
    loss: float
    low: float
    high: float


def importances(
    predict: Callable[[Features], np.ndarray],
    features: Features,
    targets: np.ndarray,
    groups: Mapping[str, Sequence[str]],
    metric: Metric,
    *,
    repeats: int,
    seed: int,
) -> pd.DataFrame:
    """Return how important each group of columns is for the predictions.

    The values of a group are shuffled among the rows, and the loss of the metric is measured (Breiman, 2001, "Random
    Forests"; Fisher et al., 2019, "All Models are Wrong, but Many are Useful").

    Parameters
    ----------
    predict
        Returns the model's predictions for features, float (rows, n).
    features
        The rows to predict.
    targets
        Class indices, int (rows,), or numbers, float (rows,).
    groups
        Names of the groups, and the columns of each.
    metric
        The metric whose loss is measured.
    repeats
        Number of permutations.
    seed
        Seed of the permutations.

    Returns
    -------
    pandas.DataFrame
        By group: ``importance``, ``stddev``, ``low`` and ``high``, float64.
    """
    import pandas as pd
    from scipy.stats import t

    sign = 1.0 if metric.greater_is_better else -1.0
    whole = metric(targets, predict(features))
    random = np.random.default_rng(seed)
    width = float(t.ppf(_LEVEL, repeats - 1)) / np.sqrt(repeats) if repeats > 1 else np.nan
    rows = {}
    for name, columns in groups.items():
        orders = [random.permutation(len(features)) for _ in range(repeats)]
        losses = [sign * (whole - metric(targets, predict(_dealt(features, columns, order)))) for order in orders]
        mean, deviation = float(np.mean(losses)), float(np.std(losses, ddof=1)) if repeats > 1 else np.nan
        rows[name] = (mean, deviation, mean - width * deviation, mean + width * deviation)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["importance", "stddev", "low", "high"])


def _dealt(features: Features, columns: Sequence[str], order: np.ndarray) -> Features:
    """Return the rows, in which `columns` have their values from the rows at the positions `order`, int (rows,)."""
    dealt = features.take(order)
    return Features(
        {**features.cells, **{column: dealt.cells[column] for column in columns if column in features.cells}},
        len(features),
        {**features.vectors, **{column: dealt.vectors[column] for column in columns if column in features.vectors}},
        {**features.pictures, **{column: dealt.pictures[column] for column in columns if column in features.pictures}},
    )
