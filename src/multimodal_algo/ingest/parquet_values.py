"""Converts values of Parquet columns into the texts that a CSV file of the same table would have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 24 * 60 * 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def text_of(kind: pa.DataType, *, strict: bool = False) -> Callable[[pa.Array], list[Any]]:
    """Return a function that converts an Arrow array of the flat type `kind` into texts.

    - Null, NaN and NaT: the empty text.
    - Whole numbers: all digits. Floats: the shortest form that reads back to the same number of their width.
    - Decimals: plain digits without zeros at the end, as floats in CSV and JSON.
    - Booleans: ``true`` and ``false``.
    - Dates, and timestamps at midnight without a zone: ``2024-01-02``. Other timestamps:
      ``2024-01-02 03:04:05.25+01:00``, with the zone if there is one. Times: ``03:04:05.25``.
    - Durations: ``1 days 03:04:05.25``, as pandas writes them.
    - Bytes: their text in UTF-8. Bytes that are not UTF-8 stay bytes.

    Parameters
    ----------
    kind
        A type that is neither nested nor a dictionary.
    strict
        Whether bytes that are not UTF-8 raise `UnicodeDecodeError`.
    """
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.json":
        return lambda values: text_of(kind.storage_type)(values.storage)
    if is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        # Arrow writes them as we do, and is faster.
        return lambda values: without_nulls(values.cast(pa.string()) if not is_text(kind) else values)
    text = _text_function(kind, strict)
    if (integers := _integers_of(kind)) is not None:
        return lambda values: ["" if v is None else text(v) for v in values.view(integers).to_pylist()]
    return lambda values: ["" if v is None else text(v) for v in values.to_pylist()]


def without_nulls(values: pa.Array) -> list[Any]:
    """Return the values of an array of texts or bytes, with the empty text for null."""
    if not values.null_count:
        return values.to_pylist()
    return ["" if value is None else value for value in values.to_pylist()]


def is_text(kind: pa.DataType) -> bool:
    """Return whether values of the type are strings."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_binary(kind: pa.DataType) -> bool:
    """Return whether values of the type are bytes."""
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _text_function(kind: pa.DataType, strict: bool) -> Callable[[Any], Any]:
    """Return a function that converts a value into text. Times come as integers, see `_integers_of`."""
    if pa.types.is_float64(kind):
        return _float
    if pa.types.is_floating(kind):
        width = np.float32 if pa.types.is_float32(kind) else np.float16
        return lambda value: _float(float(str(width(value))))
    if pa.types.is_decimal(kind):
        return _decimal
    if pa.types.is_date(kind):
        days = 1 if pa.types.is_date32(kind) else _DAY * 1000
        return lambda value: _moment(value // days * _DAY, None)[:-9]
    if pa.types.is_timestamp(kind):
        zone = _zone(kind.tz)
        return lambda value: _timestamp(value, kind.unit, zone)
    if pa.types.is_time(kind):
        return lambda value: _time(value, kind.unit)
    if pa.types.is_duration(kind):
        return lambda value: _duration(value, kind.unit)
    if is_binary(kind):
        return bytes.decode if strict else _decoded
    # The extension types have values that print as CSV has them.
    return lambda value: str(value).lower() if isinstance(value, bool) else str(value)


def _integers_of(kind: pa.DataType) -> pa.DataType | None:
    """Return the integer type of a time type. None for other types. Python's times lack nanoseconds and some years."""
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        return pa.int32()
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return pa.int64()
    return None


def _float(value: float) -> str:
    return repr(value) if value == value else ""


def _decimal(value: Decimal) -> str:
    digits = f"{value:f}"
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return "0" if digits == "-0" else digits


def _moment(seconds: int, zone: tzinfo | None) -> str:
    """Return a time as ``2024-01-02 03:04:05``, with the offset of `zone`. `seconds` count from 1970 in UTC."""
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
        return (moment.replace(tzinfo=None) if zone is None else moment.astimezone(zone)).isoformat(" ")
    except OverflowError:  # a year that Python does not have
        return str(np.datetime64(seconds, "s")).replace("T", " ") + ("" if zone is None else "+00:00")


def _zone(name: str | None) -> tzinfo | None:
    try:
        return pa.lib.string_to_tzinfo(name) if name else None
    except (KeyError, ValueError):  # a name that this machine does not have
        return UTC


def _timestamp(value: int, unit: str, zone: tzinfo | None) -> str:
    seconds, fraction = divmod(value, _PER_SECOND[unit])
    text = _moment(seconds, zone)
    if zone is None:
        return text[:-9] if not fraction and text.endswith(" 00:00:00") else text + _fraction(fraction, unit)
    end = text.index(":") + 6
    return text[:end] + _fraction(fraction, unit) + text[end:]


def _time(value: int, unit: str) -> str:
    seconds, fraction = divmod(value, _PER_SECOND[unit])
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{_fraction(fraction, unit)}"


def _duration(value: int, unit: str) -> str:
    days, rest = divmod(value, _DAY * _PER_SECOND[unit])
    return f"{days} days {'+' if days < 0 else ''}{_time(rest, unit)}"


def _fraction(fraction: int, unit: str) -> str:
    """Return the fraction of a second as ``.25``, without zeros at the end. Empty for a whole second."""
    digits = len(str(_PER_SECOND[unit])) - 1
    return f".{fraction:0{digits}}".rstrip("0") if fraction else ""


def _decoded(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
