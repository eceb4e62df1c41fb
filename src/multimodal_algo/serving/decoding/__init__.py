"""Bodies of requests to records, in order and without loss: CSV, JSON Lines, JSON and Parquet."""

from __future__ import annotations

from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.serving.decoding.csv_body import read_csv
from multimodal_algo.serving.decoding.encodings import utf8_of
from multimodal_algo.serving.decoding.json_body import read_json, read_json_lines
from multimodal_algo.serving.decoding.parquet_body import read_parquet_body
from multimodal_algo.serving.decoding.records import Decoded, Header, Kind, Reading, Record

__all__ = ["Decoded", "Header", "Kind", "Reading", "Record", "decode"]

_AS_IT_IS = Reading()


def decode(body: bytes, kind: Kind, schema: FeatureSchema, reading: Reading = _AS_IT_IS) -> Decoded:
    """Return the records of `body`.

    Parameters
    ----------
    body
        The unpacked body.
    kind
        Format of the body.
    schema
        Columns of the model. A record has a cell for each of the ``inference_columns``.
    reading
        Facts about the request and the server.

    Raises
    ------
    UserError
        The body cannot be separated into records.
    """
    if kind is Kind.PARQUET:
        return read_parquet_body(body, schema, reading)
    body = utf8_of(body, reading.charset)
    if kind is Kind.CSV:
        return Decoded(read_csv(body, schema, reading))
    return read_json_lines(body, schema, reading) if kind is Kind.JSON_LINES else read_json(body, schema, reading)
