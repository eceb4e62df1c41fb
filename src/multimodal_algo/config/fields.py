"""Reads type, allowed values and limits of a declared hyperparameter."""

from __future__ import annotations

from enum import StrEnum
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo


def kind_of(field: FieldInfo) -> Any:
    """Return the Python type of a hyperparameter's value: int for ``int | None``."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    return kinds[0] if NoneType in get_args(field.annotation) else field.annotation


def choices(field: FieldInfo) -> list[str]:
    """Return the allowed values of a hyperparameter, if they are a fixed list. Otherwise return an empty list."""
    kind = kind_of(field)
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return list(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else []


def type_of(field: FieldInfo) -> str:
    """Return SageMaker's name for the type of a hyperparameter, for example ``Integer`` or ``FreeText``."""
    if choices(field):
        return "Categorical"
    return {int: "Integer", float: "Continuous", str: "FreeText"}[kind_of(field)]


def bounds(field: FieldInfo) -> tuple[Any, Any]:
    """Return the least and the greatest allowed value of a hyperparameter that is a number."""
    low = next(item.ge for item in field.metadata if hasattr(item, "ge"))
    high = next(item.le for item in field.metadata if hasattr(item, "le"))
    return low, high


def as_string(value: Any) -> str:
    """Return the value of a hyperparameter as SageMaker passes it: as a string."""
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(value)
