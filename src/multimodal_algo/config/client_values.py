"""Reads values of hyperparameters as SageMaker's clients write them: with extra quotes, as JSON or as Python."""

from __future__ import annotations

import ast
import json
from typing import Any

from multimodal_algo.core.errors import UserError


def unquoted(value: Any) -> str:
    """Return a value as a string, without the white space and quotes that SageMaker's clients put around it."""
    text = str(value).strip()
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "\"'":
        return text
    try:
        return str(json.loads(text)).strip()
    except json.JSONDecodeError:
        return text[1:-1].strip()


def read_object(text: str, where: str) -> dict[str, Any]:
    """Parse a JSON object, or a dict as Python prints it.

    Clients convert a dict with ``str``, which writes single quotes, ``True`` and ``None``.

    Parameters
    ----------
    text
        For example ``{"rare": 5}`` or ``{'rare': 5}``.
    where
        Name of the hyperparameter, for messages.

    Raises
    ------
    UserError
        The text is neither JSON nor a printed dict, or not an object.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        values = _read_python(text)
        if values is None:
            raise UserError(f"{where} is not JSON ({error}): {text[:60]}") from None
    if not isinstance(values, dict):
        raise UserError(f"{where} must be a JSON object, for example {{}}.")
    return values


def _read_python(text: str) -> Any:
    """Return the value of a text that Python has printed, with JSON's types. None if the text is not valid Python."""
    try:
        return json.loads(json.dumps(ast.literal_eval(text)))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
