"""Class weights, as the hyperparameter ``class_weights`` sets them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target


def class_weights(wanted: Mapping[str, float] | str, target: Target) -> np.ndarray | None:
    """Return the weight of each class, float32 (n,), with the mean 1. None stands for even weights.

    Parameters
    ----------
    wanted
        ``even``, ``balanced`` for the inverse of the class's share of the rows, or weights by label.
    target
        The labels of the training rows.

    Raises
    ------
    UserError
        The labels are numbers, or no row has a label that the weights name.
    """
    if wanted == "even":
        return None
    if target.task.is_regression:
        raise UserError("class_weights is set, but the labels are numbers, which have no classes.")
    if isinstance(wanted, str):
        # A class of the previous model may have no row here.
        weights = 1.0 / np.maximum(1, np.bincount(target.values, minlength=target.task.outputs))
    else:
        named = target.values_of(list(wanted))
        for label, index in zip(wanted, named, strict=True):
            if index < 0:
                close = difflib.get_close_matches(label, target.classes, n=1)
                hint = f" Did you mean '{close[0]}'?" if close else ""
                raise UserError(f"class_weights names '{label[:60]}', which is not a label of the data.{hint}")
        weights = np.ones(len(target.classes))
        weights[named] = list(wanted.values())
    return (weights / weights.mean()).astype(np.float32)
