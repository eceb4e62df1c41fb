"""Types, values and limits of declared hyperparameters."""

from __future__ import annotations

from enum import StrEnum
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo


def kind_of(field: FieldInfo) -> Any:
    """Return the type of a field, without the None of one that has no default."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    return kinds[0] if NoneType in get_args(field.annotation) else field.annotation


def choices(field: FieldInfo) -> list[str]:
    """Return the values of a field with a fixed list of values. Empty for other fields."""
    kind = kind_of(field)
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return list(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else []


def type_of(field: FieldInfo) -> str:
    """Return the platform's name of the type of a field."""
    if choices(field):
        return "Categorical"
    return {int: "Integer", float: "Continuous", str: "FreeText"}[kind_of(field)]


def bounds(field: FieldInfo) -> tuple[Any, Any]:
    """Return the least and the greatest value of a field that is a number."""
    low = next(item.ge for item in field.metadata if hasattr(item, "ge"))
    high = next(item.le for item in field.metadata if hasattr(item, "le"))
    return low, high


def as_string(value: Any) -> str:
    """Return a value as the platform passes it."""
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(value)
