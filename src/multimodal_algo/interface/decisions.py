"""Answers of the Python interface, with the decision rule of the model or with another rule for one call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from multimodal_algo.artifact import ModelConfig
from multimodal_algo.core.errors import UserError
from multimodal_algo.serving.deciding import Decider

_NAMES = ("decision_threshold", "abstain_below", "target_accuracy", "review_label")
Labels = list[str | None]


def decider_of(config: ModelConfig, rule: Mapping[str, Any]) -> Decider | None:
    """Return the decider of a model. Return None if every row is answered with its likeliest class.

    Parameters
    ----------
    config
        Description of the model.
    rule
        Settings that override those of the model, by name of the hyperparameter. None keeps the model's setting.

    Raises
    ------
    UserError
        A setting is unknown, or it does not suit the model, see `Decider.of`.
    """
    if unknown := [name for name in rule if name not in _NAMES]:
        raise UserError(f"There is no setting '{unknown[0]}'. Known are {', '.join(_NAMES)}.")
    given = {name.upper(): _text(value) for name, value in rule.items() if value is not None}
    return Decider.of(config.decision, config.classes, given)


def answers_of(probabilities: np.ndarray, classes: Sequence[str], decider: Decider | None) -> tuple[Labels, Labels]:
    """Return the answer and the best guess for each row. Both are None if the probabilities of a row are NaN.

    Parameters
    ----------
    probabilities
        Probabilities, float (rows, n).
    classes
        Names of the classes.
    decider
        Decision rule of the answers. None to answer with the likeliest class.
    """
    is_bad = np.isnan(probabilities[:, 0])
    known = np.where(is_bad[:, None], 0.0, probabilities)
    if decider is None:
        answers = guesses = [classes[number] for number in known.argmax(axis=1)]
    else:
        answers, guesses = decider.labels(known)
    return _without(answers, is_bad), _without(guesses, is_bad)


def _without(labels: Sequence[str], is_bad: np.ndarray) -> Labels:
    return [None if bad else label for label, bad in zip(labels, is_bad, strict=True)]


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)
