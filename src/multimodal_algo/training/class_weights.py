"""Weights of the classes, as the hyperparameter asks for them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target


def class_weights(wanted: Mapping[str, float] | str, target: Target) -> np.ndarray | None:
    """Of each class its weight, float32 (n,), on average 1; None where all are even.

    Parameters
    ----------
    wanted
        ``even``, ``balanced`` (the inverse of the class's share of the rows), or weights by label.
    target
        The classes and the rows.

    Raises
    ------
    UserError
        Weights for a regression, or of a label that no row has.
    """
    if wanted == "even":
        return None
    if target.task.is_regression:
        raise UserError("class_weights is set, but the labels are numbers, which have no classes.")
    if isinstance(wanted, str):
        # A class of an earlier model may have no row here.
        weights = 1.0 / np.maximum(1, np.bincount(target.values, minlength=target.task.outputs))
    else:
        for label in wanted:
            if label not in target.classes:
                close = difflib.get_close_matches(label, target.classes, n=1)
                hint = f" Did you mean '{close[0]}'?" if close else ""
                raise UserError(f"class_weights names '{label[:60]}', which is no label of the data.{hint}")
        weights = np.array([wanted.get(name, 1.0) for name in target.classes])
    return (weights / weights.mean()).astype(np.float32)
