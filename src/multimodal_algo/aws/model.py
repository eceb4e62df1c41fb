"""The service's own model, as botocore has it: shapes, limits and enumerations of requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import regex

from multimodal_algo.core.errors import UserError

_TYPES: Mapping[str, Any] = {
    "structure": Mapping,
    "map": Mapping,
    "list": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
}


def enum_of(shape: str) -> list[str]:
    """The values of an enumeration of SageMaker's API."""
    return list(_service("sagemaker").shape_for(shape).enum)


def problems(operation: str, request: Mapping[str, Any], *, service: str = "sagemaker") -> list[str]:
    """What the service would refuse in `request`, as far as its model says: a sentence per problem.

    botocore itself checks names, types and least values alone; this checks enumerations, greatest values, lengths and
    patterns too.

    Parameters
    ----------
    operation
        Such as ``CreateTrainingJob``.
    request
        Its parameters.
    service
        Whose model.
    """
    return list(_problems(_service(service).operation_model(operation).input_shape, request, operation))


def require_valid(operation: str, request: Mapping[str, Any], *, service: str = "sagemaker") -> None:
    """Refuse a request that the service would.

    Raises
    ------
    UserError
        See `problems`.
    """
    if found := problems(operation, request, service=service):
        raise UserError(f"{found[0]}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else ""))


@cache
def _service(name: str) -> Any:
    from botocore.session import get_session

    return get_session().get_service_model(name)


def _problems(shape: Any, value: Any, where: str) -> Iterator[str]:
    kind = shape.type_name
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{where}: {value!r} is no {kind}."
        return
    if kind == "structure":
        yield from (f"{where}: {name} is missing." for name in shape.required_members if name not in value)
        for name, member in value.items():
            if name in shape.members:
                yield from _problems(shape.members[name], member, f"{where}.{name}")
            else:
                yield f"{where}: {name} is unknown."
    elif kind == "list":
        yield from _out_of_range(shape, len(value), where, "entries")
        for place, member in enumerate(value):
            yield from _problems(shape.member, member, f"{where}[{place}]")
    elif kind == "map":
        yield from _out_of_range(shape, len(value), where, "entries")
        for name, member in value.items():
            yield from _problems(shape.key, name, f"{where}, the name {name}")
            yield from _problems(shape.value, member, f"{where}.{name}")
    elif kind == "string":
        if shape.enum and value not in shape.enum:
            yield f"{where}: '{value}' is none of {', '.join(shape.enum[:8])}{', …' if len(shape.enum) > 8 else ''}."
        yield from _out_of_range(shape, len(value), where, "characters")
        pattern = shape.metadata.get("pattern")
        if pattern and not regex.fullmatch(pattern, value):
            yield f"{where}: '{value[:80]}' does not match {pattern}."
    elif kind != "boolean":
        yield from _out_of_range(shape, value, where, "")


def _out_of_range(shape: Any, size: float, where: str, unit: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    told = f"{size} {unit}".rstrip()
    if low is not None and size < low:
        yield f"{where}: {told}, at least {low}."
    if high is not None and size > high:
        yield f"{where}: {told}, at most {high}."
