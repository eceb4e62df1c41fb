"""Decoding: request bodies in CSV, JSON Lines, JSON or Parquet become records (rows), in order and without loss."""

from __future__ import annotations

from dataclasses import replace

from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.serving.decoding.bounds import csv_bytes, json_bytes, require_room
from multimodal_algo.serving.decoding.csv_body import read_csv
from multimodal_algo.serving.decoding.encodings import utf8_of
from multimodal_algo.serving.decoding.json_body import read_json, read_json_lines
from multimodal_algo.serving.decoding.parquet_body import read_parquet_body
from multimodal_algo.serving.decoding.records import Decoded, Header, Kind, Reading, Record

__all__ = ["Decoded", "Header", "Kind", "Reading", "Record", "decode", "memory_of", "readable", "records_of"]

_AS_IT_IS = Reading()


def decode(body: bytes, kind: Kind, schema: FeatureSchema, reading: Reading = _AS_IT_IS) -> Decoded:
    """Return the records (rows) in the request body `body`.

    Parameters
    ----------
    body
        The request body, already unpacked.
    kind
        Format of the body.
    schema
        Columns of the model. A record gets a cell for each of the ``inference_columns``.
    reading
        Facts about the request and the server that decide how the body is read.

    Raises
    ------
    UserError
        The body cannot be separated into records.
    BodyTooLarge
        The records take too much memory.
    """
    body = readable(body, kind, reading)
    require_room(memory_of(body, kind, reading), reading.most_bytes)
    return records_of(body, kind, schema, reading)


def readable(body: bytes, kind: Kind, reading: Reading) -> bytes:
    """Return a text body in UTF-8, and a Parquet body as it is. This is the first step of `decode`."""
    return body if kind is Kind.PARQUET else utf8_of(body, reading.charset)


def memory_of(body: bytes, kind: Kind, reading: Reading) -> int:
    """Return an upper limit of the memory in bytes that a body's records will take.

    It is known before they are made.
    """
    if kind is Kind.PARQUET:  # a value stands there once for many rows, so rows are counted as they are read
        return reading.most_bytes
    return csv_bytes(body) if kind is Kind.CSV else json_bytes(body)


def records_of(body: bytes, kind: Kind, schema: FeatureSchema, reading: Reading) -> Decoded:
    """Return the records of a readable body. This is the last step of `decode`."""
    in_table = FeatureSchema(reading.names.in_tables(schema.columns))
    decoded = _records(body, kind, in_table, reading)
    convert = reading.names.cells_in_models(in_table.inference_columns)
    if convert is None:
        return decoded
    records = [replace(each, cells=tuple(convert(each.cells))) if each.cells else each for each in decoded.records]
    return replace(decoded, records=records)


def _records(body: bytes, kind: Kind, schema: FeatureSchema, reading: Reading) -> Decoded:
    """Return the records of a readable body with the cells as they were sent: a date is still one cell."""
    if kind is Kind.PARQUET:
        return read_parquet_body(body, schema, reading)
    if kind is Kind.CSV:
        return Decoded(read_csv(body, schema, reading))
    return read_json_lines(body, schema, reading) if kind is Kind.JSON_LINES else read_json(body, schema, reading)
