"""The simulation of ``DataProcessing``: filters of records and answers, and the join of records with their answers.

The order is the one of SageMaker: InputFilter, request, join with the unfiltered record, OutputFilter. Sources:
developer guide, *batch-transform-data-processing*, and API, *DataProcessing*.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from multimodal_algo.config.transform import JoinSource, SplitType, TransformSettings
from multimodal_algo.core.errors import UserError
from multimodal_algo.local.records import Payload

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

_WHOLE = "$"
# The value of SplitType and of AssembleWith.
_LINE = SplitType.LINE.value
# API: JsonPath.
_MAX_CHARACTERS = 63
# CreateTransformJob refuses every other character, also an underscore. Source: aws/aws-sdk issue 184, which has the
# service's list. The guide's table and the API's examples use these alone.
_REFUSED_CHARACTER = re.compile(r"[^A-Za-z0-9$\[\]*. ,:'-]")
# A name, an index, a slice, or None for all elements. A step has the keys of one pair of brackets.
_Key = str | int | slice | None
_Step = tuple[_Key, ...]


@dataclass(frozen=True)
class _Format:
    """A data format: how to read a record, how to write one, and how to join a record with its answer."""

    parse: Callable[[bytes], Any]
    render: Callable[[Any], bytes]
    join: Callable[[Any, Any], Any]


def _parse_csv(record: bytes) -> list[str]:
    # Strict: an open quote is an error, because a record cannot go on in the next line. Bytes that are not UTF-8 pass
    # through.
    text = record.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
    return next(csv.reader([text], strict=True), None) or [""]


def _render_csv(value: str | list[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow([value] if isinstance(value, str) else value)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _render_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _join_json(record: Any, answer: Any) -> dict[str, Any]:
    joined = record if isinstance(record, dict) else {"SageMakerInput": record}
    return {**joined, "SageMakerOutput": answer}


_JSON = _Format(json.loads, _render_json, _join_json)
_FORMATS = {
    "text/csv": _Format(_parse_csv, _render_csv, lambda record, answer: record + answer),
    "application/jsonlines": _JSON,
    "application/json": _JSON,
}


class Processor:
    """The filters and the join of one transform job. If the job has neither, no bytes are changed.

    Parameters
    ----------
    settings
        Settings of the job.

    Attributes
    ----------
    is_needed
        Whether the job has a filter or a join.
    has_slice_end
        Whether a filter has a slice with an end, such as ``[1:4]``. The end is taken as inclusive.

    Raises
    ------
    UserError
        SageMaker does not support a filter's path. Or the formats, SplitType and AssembleWith do not suit filters and
        join.
    """

    def __init__(self, settings: TransformSettings) -> None:
        self._joins = settings.join_source == JoinSource.INPUT
        self._filters_input, self._filters_output = settings.input_filter != _WHOLE, settings.output_filter != _WHOLE
        self.is_needed = self._joins or self._filters_input or self._filters_output
        sent, answered = (value.partition(";")[0].strip().lower() for value in (settings.content_type, settings.accept))
        if self._joins or self._filters_input:
            _check("ContentType", sent, "SplitType", settings.split_type)
        if self._joins or self._filters_output:
            _check("Accept", answered, "AssembleWith", settings.assemble_with)
        if self._joins and (sent, settings.split_type) != (answered, settings.assemble_with):
            raise UserError(
                f"JoinSource=Input needs ContentType ({sent}) and Accept ({answered}) to be the same, and SplitType "
                f"({settings.split_type}) and AssembleWith ({settings.assemble_with}) too."
            )
        self._sent, self._answered = _FORMATS.get(sent, _JSON), _FORMATS.get(answered, _JSON)
        self._splits, self._assembles = settings.split_type == _LINE, settings.assemble_with == _LINE
        self._input_filter = _Filter("InputFilter", settings.input_filter, sent)
        self._output_filter = _Filter("OutputFilter", settings.output_filter, answered)
        self.has_slice_end = self._input_filter.has_slice_end or self._output_filter.has_slice_end

    def request(self, payload: Payload, name: str) -> bytes:
        """Return the body of one request: the records of a payload, after the InputFilter.

        `name` is the file, for messages.

        Raises
        ------
        UserError
            A record cannot be read, or lacks the part that the filter selects.
        """
        if not self._filters_input:
            return payload.body
        filtered = []
        for line, record in enumerate(_records(payload.body, self._splits), payload.first_line):
            with _located(f"{name}, line {line}"):
                part = self._input_filter.select(self._sent.parse(record))
                filtered.append(self._sent.render(part) + _ending(record))
        return b"".join(filtered)

    def result(self, payload: Payload, answer: bytes, name: str) -> bytes:
        """Return the output for one request: its answers, joined with the records and filtered if the job asks for it.

        Raises
        ------
        UserError
            A line of the answer cannot be read, or lacks the part that the filter selects. Or the answer cannot be
            joined, because it does not have one line for each record.
        """
        if not self._joins and not self._filters_output:
            return answer
        where = f"{name}, payload from line {payload.first_line}"
        answers = _records(answer, self._assembles)
        records = _records(payload.body, self._splits) if self._joins else answers
        if len(records) != len(answers):
            raise UserError(
                f"{where}: {len(records)} records were answered with {len(answers)} lines. JoinSource=Input needs "
                "one line for each record."
            )
        results = []
        for number, (record, answered) in enumerate(zip(records, answers, strict=True), 1):
            with _located(f"{where}, record {number}"):
                value = self._answered.parse(answered)
                if self._joins:
                    value = self._answered.join(self._sent.parse(record), value)
                results.append(self._answered.render(self._output_filter.select(value)) + _ending(answered))
        return b"".join(results)


def _check(setting: str, media_type: str, line_setting: str, value: str) -> None:
    """Raise an error if a media type cannot be filtered and joined, or if its lines are not separate records."""
    if media_type not in _FORMATS:
        raise UserError(f"DataProcessing: {setting} is '{media_type}' and must be one of {', '.join(_FORMATS)}.")
    if media_type != "application/json" and value != _LINE:
        raise UserError(f"DataProcessing: {media_type} is processed by lines. Set {line_setting}=Line.")


class _Filter:
    """A JSONPath in one of the forms that SageMaker supports. It selects a part of a record or an answer.

    A library parses the path. `select` applies it, because SageMaker's slices differ from the library's.
    """

    def __init__(self, setting: str, path: str, media_type: str) -> None:
        self._name = f"{setting} {path}"
        self._steps = () if path == _WHOLE else _parse(self._name, path)
        keys = [key for step in self._steps for key in step]
        self.has_slice_end = any(isinstance(key, slice) and key.stop is not None for key in keys)
        if media_type == "text/csv" and (len(self._steps) > 1 or any(isinstance(key, str) for key in keys)):
            raise UserError(f"{self._name}: a CSV record is one array. Select by index, for example $[0] or $[1:].")

    def select(self, value: Any) -> Any:
        """Return the part of `value` that the path names. Raise LookupError if `value` has no such part."""
        try:
            return _select(value, self._steps)
        except LookupError as error:
            raise LookupError(f"{self._name} selects a part that is not there ({error.args[0]})") from None


def _parse(name: str, path: str) -> tuple[_Step, ...]:
    import jsonpath
    from jsonpath.segments import JSONPathChildSegment

    if len(path) > _MAX_CHARACTERS:
        raise UserError(f"{name} has {len(path)} characters: the platform takes at most {_MAX_CHARACTERS}.")
    if refused := _REFUSED_CHARACTER.search(path):
        raise UserError(f"{name}: the platform refuses '{refused.group()}'. Use letters, digits and $[]*.,:'- only.")
    try:
        # The guide writes $.field1.['child1','child2'] too.
        query = jsonpath.compile(path.replace(".[", "["), strict=True)
    except jsonpath.JSONPathError as error:
        raise UserError(f"{name} is not a JSONPath: {error.args[0]}.") from None
    assert isinstance(query, jsonpath.JSONPath)
    steps = tuple(tuple(map(_key, segment.selectors)) for segment in query.segments)
    if not (all(isinstance(part, JSONPathChildSegment) for part in query.segments) and all(map(_is_supported, steps))):
        raise UserError(f"{name}: the platform has only $, .name, *, ['a','b'], [1,3] and one [2:5] in brackets.")
    return steps


def _key(selector: object) -> _Key:
    from jsonpath.selectors import IndexSelector, NameSelector, SliceSelector

    if isinstance(selector, NameSelector):
        return selector.name
    if isinstance(selector, IndexSelector):
        return selector.index
    return selector.slice if isinstance(selector, SliceSelector) else None


def _is_supported(step: _Step) -> bool:
    """Return whether SageMaker allows these keys (names, indices or slices) in one pair of brackets of a path."""
    # The API's example $[0,5:] has an index and a slice. The service refuses two slices, $[0:2,246:]. Source:
    # aws/sagemaker-python-sdk issue 1112.
    slices = [key for key in step if isinstance(key, slice)]
    return (
        step == (None,)
        or all(isinstance(key, str) and "." not in key for key in step)
        or (all(isinstance(key, int | slice) for key in step) and len(slices) <= 1 and not any(s.step for s in slices))
    )


def _select(value: Any, steps: Sequence[_Step]) -> Any:
    """Return the part of `value` that the steps of a path select, as the Java library json-path/JsonPath does.

    One name or index gives the element itself. Several names give an object. Slices, `*` and several indices give an
    array.
    """
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    parts = [_select(_child(value, key), rest) for key in _keys(value, step)]
    if len(step) == 1:
        return parts[0] if isinstance(step[0], str | int) else parts
    return dict(zip(step, parts, strict=True)) if isinstance(step[0], str) else parts


def _keys(value: Any, step: _Step) -> Iterator[str | int]:
    for key in step:
        if key is None:
            yield from value if isinstance(value, dict) else range(_length(value))
        elif isinstance(key, slice):
            yield from _slice(key, _length(value))
        else:
            yield key


def _slice(part: slice, length: int) -> range:
    # In the guide, ends are inclusive: $[1:4] is "the second through fifth columns", [:5] "through the sixth column".
    # The guide calls it an array slice, and the end of an array slice is exclusive elsewhere. The service's own rule is
    # not known. A negative end is read as inclusive here too.
    ends = (0 if part.start is None else part.start, -1 if part.stop is None else part.stop)
    first, last = (end + length if end < 0 else end for end in ends)
    # API: "If you specify indexes that aren't within the dimension size of the joined dataset, you get an error."
    if not 0 <= first <= last < length:
        raise LookupError(f"there are {length} elements")
    return range(first, last + 1)


def _child(value: Any, key: str | int) -> Any:
    if isinstance(key, str):
        if not isinstance(value, dict) or key not in value:
            raise LookupError(f"there is no '{key}'")
        return value[key]
    if not -_length(value) <= key < _length(value):
        raise LookupError(f"there are {_length(value)} elements")
    return value[key]


def _length(value: Any) -> int:
    if not isinstance(value, list):
        raise LookupError("it is not an array")
    return len(value)


def _records(body: bytes, by_line: bool) -> list[bytes]:
    # On bytes, readlines cuts at \n alone.
    return io.BytesIO(body).readlines() if by_line else [body]


def _ending(record: bytes) -> bytes:
    return b"\n" if record.endswith(b"\n") else b""


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Turn errors about one record into error messages that begin with `where`, the record's place."""
    try:
        yield
    except LookupError as error:
        raise UserError(f"{where}: {error.args[0]}.") from None
    except (ValueError, csv.Error) as error:
        raise UserError(f"{where} cannot be read ({error}). Each line must hold a whole record.") from None
