"""Class weights, as the hyperparameter ``class_weights`` sets them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.label_checks import weights_problem
from multimodal_algo.core.labels import Target


def class_weights(wanted: Mapping[str, float] | str, target: Target) -> np.ndarray | None:
    """Return the weight of each class, float32 (n,), with mean 1. Return None for even weights.

    Parameters
    ----------
    wanted
        Weights by label, or ``even``, or ``balanced``: the inverse of each class's share of the rows.
    target
        The labels of the training rows.

    Raises
    ------
    UserError
        The labels are numbers, or the weights name a label that no row has.
    """
    if problem := weights_problem(wanted, target.classes):
        raise UserError(problem)
    if wanted == "even":
        return None
    if isinstance(wanted, str):
        # A class of the previous model may have no row here.
        weights = 1.0 / np.maximum(1, np.bincount(target.values, minlength=target.task.outputs))
    else:
        weights = np.ones(len(target.classes))
        weights[target.values_of(list(wanted))] = list(wanted.values())
    return (weights / weights.mean()).astype(np.float32)
