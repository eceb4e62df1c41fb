"""Checks requests against botocore's description of an AWS service: shapes, limits and enumerations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import regex

from multimodal_algo.core.errors import UserError

_SHOWN = 60
# Patterns are Java's, which writes the characters beyond 16 bits as pairs.
_BEYOND_16_BITS = (r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
_TYPES: Mapping[str, Any] = {
    "structure": Mapping,
    "map": Mapping,
    "list": list,
    "string": str,
    "blob": bytes,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
}


def enum_of(shape: str) -> list[str]:
    """Return the allowed values of an enumeration in SageMaker's API."""
    return list(_service("sagemaker").shape_for(shape).enum)


def problems(operation: str, request: Mapping[str, Any], *, service: str = "sagemaker") -> list[str]:
    """Return one sentence for each part of a request that AWS would refuse.

    botocore itself checks only names, types and lower limits. This function also checks enumerations, upper limits,
    lengths and patterns.

    Parameters
    ----------
    operation
        Name of the operation, for example ``CreateTrainingJob``.
    request
        Parameters of the operation.
    service
        Name of the AWS service.
    """
    return list(_problems(_service(service).operation_model(operation).input_shape, request, operation))


def require_valid(operation: str, request: Mapping[str, Any], *, service: str = "sagemaker") -> None:
    """Raise an error if AWS would refuse a request.

    Raises
    ------
    UserError
        The request has problems, see `problems`.
    """
    if sentences := problems(operation, request, service=service):
        more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
        raise UserError(f"{sentences[0]}{more}")


@cache
def _service(name: str) -> Any:
    from botocore.session import get_session

    return get_session().get_service_model(name)


def _problems(shape: Any, value: Any, where: str) -> Iterator[str]:
    kind = shape.type_name
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{where}: {_short(value)} is not {'an' if kind[0] in 'aeiou' else 'a'} {kind}."
        return
    if kind == "structure":
        yield from _in_structure(shape, value, where)
    elif kind == "list":
        yield from _in_list(shape, value, where)
    elif kind == "map":
        yield from _in_map(shape, value, where)
    elif kind == "blob":
        yield from _out_of_range(shape, len(value), where, "bytes")
    elif kind == "string":
        yield from _in_string(shape, value, where)
    elif kind != "boolean":
        yield from _out_of_range(shape, value, where, "")


def _in_structure(shape: Any, value: Mapping[str, Any], where: str) -> Iterator[str]:
    yield from (f"{where}: {name} is missing." for name in shape.required_members if name not in value)
    for name, member in value.items():
        if name in shape.members:
            yield from _problems(shape.members[name], member, f"{where}.{name}")
        else:
            yield f"{where}: {name} is unknown."


def _in_list(shape: Any, value: list[Any], where: str) -> Iterator[str]:
    yield from _out_of_range(shape, len(value), where, "entries")
    for index, member in enumerate(value):
        yield from _problems(shape.member, member, f"{where}[{index}]")


def _in_map(shape: Any, value: Mapping[str, Any], where: str) -> Iterator[str]:
    yield from _out_of_range(shape, len(value), where, "entries")
    for name, member in value.items():
        yield from _problems(shape.key, name, f"{where}, the name {name}")
        yield from _problems(shape.value, member, f"{where}.{name}")


def _in_string(shape: Any, value: str, where: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        more = ", …" if len(shape.enum) > 8 else ""
        yield f"{where}: {_short(value)} is not one of {', '.join(shape.enum[:8])}{more}."
    yield from _out_of_range(shape, len(value), where, "characters")
    pattern = shape.metadata.get("pattern", "").replace(*_BEYOND_16_BITS)
    if pattern and not regex.fullmatch(pattern, value):
        yield f"{where}: {_short(value)} does not match {pattern}."


def _out_of_range(shape: Any, size: float, where: str, unit: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    amount = f"{size} {unit}".rstrip()
    if low is not None and size < low:
        yield f"{where}: {amount}, at least {low}."
    if high is not None and size > high:
        yield f"{where}: {amount}, at most {high}."


def _short(value: Any) -> str:
    text = str(value)
    return f"'{text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'}'"
