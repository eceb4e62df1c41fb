"""Reads the settings of thresholds and abstention from hyperparameters and environment variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from multimodal_algo.config.client_values import read_object
from multimodal_algo.config.inference import on_one_line
from multimodal_algo.core.aims import Aim, AimKind, DecisionSettings
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.values import trimmed

_SHARE = re.compile(r"(precision|recall)\s*>=\s*([0-9.]+)\s*(%?)")
_COSTS = ("false_positive", "false_negative")
_FORMS = (
    "a number from 0 to 1, f1, precision>=0.95, recall>=0.9, or "
    'cost:{"false_positive":1,"false_negative":20}. Or JSON with one of them for each class, for example '
    '{"rare": "recall>=0.9"}.'
)


def parse_aims(text: str, where: str) -> Aim | Mapping[str, Aim] | None:
    """Read a setting that is one aim, or JSON of aims by class.

    Parameters
    ----------
    text
        The value. An empty text means no aim.
    where
        Name of the setting, for messages.

    Raises
    ------
    UserError
        The text is neither an aim nor JSON of aims.
    """
    if not text.strip():
        return None
    if not text.lstrip().startswith("{"):
        return _aim(text, text, where)
    aims = {str(label): _aim(value, text, where) for label, value in read_object(text, where).items()}
    if not aims:
        raise _unreadable(text, where)
    return aims


def read_settings(
    positive_class: str, decision_threshold: str, abstain_below: float, target_accuracy: float, review_label: str
) -> DecisionSettings:
    """Return the settings of decisions from the values of the hyperparameters with these names.

    Raises
    ------
    UserError
        `decision_threshold` cannot be read, see `parse_aims`.
    """
    aims = parse_aims(decision_threshold, "The hyperparameter decision_threshold")
    return DecisionSettings(
        trimmed(positive_class),
        aims if isinstance(aims, Aim) else None,
        {} if aims is None or isinstance(aims, Aim) else aims,
        abstain_below,
        target_accuracy,
        on_one_line(trimmed(review_label)),
    )


def _aim(value: Any, whole: str, where: str) -> Aim:
    if isinstance(value, dict):
        return _cost(value, whole, where)
    if isinstance(value, bool):
        raise _unreadable(whole, where)
    text = str(value).strip()
    if text.lower() == AimKind.F1:
        return Aim(AimKind.F1, text)
    if text.lower().startswith("cost:"):
        return _cost(read_object(text[len("cost:") :].strip(), where), whole, where)
    if match := _SHARE.fullmatch(text.lower()):
        kind, number, percent = match.groups()
        share = _number(number, whole, where) / (100 if percent else 1)
        if not 0 < share < 1:
            raise UserError(f"{where} is '{whole[:60]}': a {kind} that is promised must be between 0 and 1.")
        return Aim(AimKind(kind), f"{kind}>={share:g}", share)
    threshold = _number(text, whole, where)
    if not 0 <= threshold <= 1:
        raise _unreadable(whole, where)
    return Aim(AimKind.NUMBER, f"{threshold:g}", threshold)


def _cost(costs: Mapping[str, Any], whole: str, where: str) -> Aim:
    if set(costs) != set(_COSTS) or not all(_is_cost(value) for value in costs.values()):
        raise UserError(
            f"{where} is '{whole[:60]}': a cost has the keys false_positive and false_negative, with numbers above 0."
        )
    false_positive, false_negative = (float(costs[name]) for name in _COSTS)
    text = f'cost:{{"false_positive":{false_positive:g},"false_negative":{false_negative:g}}}'
    return Aim(AimKind.COST, text, false_positive=false_positive, false_negative=false_negative)


def _is_cost(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _number(text: str, whole: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _unreadable(whole, where) from None


def _unreadable(text: str, where: str) -> UserError:
    return UserError(f"{where} is '{text[:60]}': it must be {_FORMS}")
