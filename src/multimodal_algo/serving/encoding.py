"""Encoding: answers become the body of a response, with one line or object per record, in order."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from multimodal_algo.config.inference import Field, on_one_line
from multimodal_algo.serving.decoding import Kind

Answer = dict[Field, Any]
"""Values by field, None for an empty field. The answer to a header line is an empty dict."""


def encode(answers: Iterable[Answer], fields: Sequence[Field], kind: Kind, *, is_single: bool) -> bytes:
    """Return the response body with these answers.

    Parameters
    ----------
    answers
        Answers to the records, in order.
    fields
        Fields of each answer, in order.
    kind
        Format. CSV is RFC 4180 with LF: one newline after each answer, and none inside a field.
    is_single
        Whether a JSON body has one object per line, as the request had, instead of ``{"predictions": [...]}``.
    """
    if kind is Kind.CSV:
        return _csv(answers, fields)
    objects = [{field.heading: answer[field] for field in fields} for answer in answers if answer]
    if kind is Kind.JSON_LINES or is_single:
        return b"".join(_json(entry) + b"\n" for entry in objects)
    return _json({"predictions": objects}) + b"\n"


def _csv(answers: Iterable[Answer], fields: Sequence[Field]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for answer in answers:
        writer.writerow([_cell(field, answer[field]) if answer else field.heading for field in fields])
    return text.getvalue().encode("utf-8")


def _cell(field: Field, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}" if field is Field.PROBABILITY else repr(value)
    if isinstance(value, str):
        return on_one_line(value)
    return json.dumps(value, ensure_ascii=False)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8")
