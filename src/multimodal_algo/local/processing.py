"""``DataProcessing``: filters of what is sent and of what is kept, and the join of records with their answers.

The order is the platform's: InputFilter, invocation, join with the record as it was before the filter, OutputFilter.
Source: developer guide, *batch-transform-data-processing*; API, *DataProcessing*.
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

from multimodal_algo.core.errors import UserError
from multimodal_algo.local.job import JoinSource, TransformJob
from multimodal_algo.local.records import Payload

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

_WHOLE = "$"
# API: JsonPath.
_MOST_CHARACTERS = 63
# The service refuses every other character at CreateTransformJob, an underscore too (aws/aws-sdk issue 184, with the
# list that it answers); the guide's table and the API's examples use these.
_ODD_CHARACTER = re.compile(r"[^A-Za-z0-9$\[\]*. ,:'-]")
# A name, an index, a slice, or None for everything there is; and what stands in one pair of brackets.
_Key = str | int | slice | None
_Step = tuple[_Key, ...]


@dataclass(frozen=True)
class _Format:
    """How a record becomes a value, and a value a record; and what a record joined with its answer is."""

    parse: Callable[[bytes], Any]
    render: Callable[[Any], bytes]
    join: Callable[[Any, Any], Any]


def _parse_csv(record: bytes) -> list[str]:
    # Strict: a quote that is left open is an error, as a record cannot go on in the next line. Bytes that are no UTF-8
    # pass through.
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
    """The data processing of one job; where the job asks for none, bytes pass through untouched.

    Parameters
    ----------
    job
        Its settings.

    Attributes
    ----------
    is_needed
        Whether it asks for any.
    has_slice_end
        Whether a filter has a slice with an end, which this reads as inclusive.

    Raises
    ------
    UserError
        A path is none of the platform's, or formats, splitting and assembly do not go with what is asked for.
    """

    def __init__(self, job: TransformJob) -> None:
        wanted = job.data_processing
        self._join = wanted.join_source is JoinSource.INPUT
        self._filters_input, self._filters_output = wanted.input_filter != _WHOLE, wanted.output_filter != _WHOLE
        self.is_needed = self._join or self._filters_input or self._filters_output
        sent, answered = (value.partition(";")[0].strip().lower() for value in (job.content_type, job.accept))
        if self._join or self._filters_input:
            _check("ContentType", sent, "SplitType", job.split_type)
        if self._join or self._filters_output:
            _check("Accept", answered, "AssembleWith", job.assemble_with)
        if self._join and (sent, job.split_type) != (answered, job.assemble_with):
            raise UserError(
                f"JoinSource=Input needs ContentType ({sent}) and Accept ({answered}) to be the same, and SplitType "
                f"({job.split_type}) and AssembleWith ({job.assemble_with}) too."
            )
        self._sent, self._answered = _FORMATS.get(sent, _JSON), _FORMATS.get(answered, _JSON)
        self._splits, self._assembles = job.split_type == "Line", job.assemble_with == "Line"
        self._input_filter = _Filter("InputFilter", wanted.input_filter, sent)
        self._output_filter = _Filter("OutputFilter", wanted.output_filter, answered)
        self.has_slice_end = self._input_filter.has_slice_end or self._output_filter.has_slice_end

    def request(self, payload: Payload, name: str) -> bytes:
        """The body to send for a payload of the file `name`.

        Raises
        ------
        UserError
            A record cannot be read, or has not what the filter selects.
        """
        if not self._filters_input:
            return payload.body
        done = []
        for line, record in enumerate(_records(payload.body, self._splits), payload.first_line):
            with _told(f"{name}, line {line}"):
                done.append(self._sent.render(self._input_filter.select(self._sent.parse(record))) + _ending(record))
        return b"".join(done)

    def result(self, payload: Payload, answer: bytes, name: str) -> bytes:
        """What is kept of a payload of the file `name` and its answer.

        Raises
        ------
        UserError
            The answer has not one line for each record, where they are joined; a line cannot be read, or has not what
            the filter selects.
        """
        if not self._join and not self._filters_output:
            return answer
        where = f"{name}, payload from line {payload.first_line}"
        answers = _records(answer, self._assembles)
        records = _records(payload.body, self._splits) if self._join else answers
        if len(records) != len(answers):
            raise UserError(
                f"{where}: {len(records)} records were answered with {len(answers)} lines; JoinSource=Input needs a "
                "line for each."
            )
        done = []
        for number, (record, answered) in enumerate(zip(records, answers, strict=True), 1):
            with _told(f"{where}, record {number}"):
                value = self._answered.parse(answered)
                if self._join:
                    value = self._answered.join(self._sent.parse(record), value)
                done.append(self._answered.render(self._output_filter.select(value)) + _ending(answered))
        return b"".join(done)


def _check(media_type: str, value: str, cut: str, how: str) -> None:
    if value not in _FORMATS:
        raise UserError(f"DataProcessing: {media_type} is '{value}' and must be one of {', '.join(_FORMATS)}.")
    if value != "application/json" and how != "Line":
        raise UserError(f"DataProcessing: {value} is processed by lines; set {cut}=Line.")


class _Filter:
    """A JSONPath of the platform's subset: a library parses it, and it is applied here, with the platform's slices."""

    def __init__(self, setting: str, path: str, media_type: str) -> None:
        self._name = f"{setting} {path}"
        self._steps = () if path == _WHOLE else _parse(self._name, path)
        keys = [key for step in self._steps for key in step]
        self.has_slice_end = any(isinstance(key, slice) and key.stop is not None for key in keys)
        if media_type == "text/csv" and (len(self._steps) > 1 or any(isinstance(key, str) for key in keys)):
            raise UserError(f"{self._name}: a CSV record is one array; select by index, as $[0] or $[1:].")

    def select(self, value: Any) -> Any:
        """The part of `value`; LookupError where there is none."""
        try:
            return _select(value, self._steps)
        except LookupError as error:
            raise LookupError(f"{self._name} selects what is not there ({error.args[0]})") from None


def _parse(name: str, path: str) -> tuple[_Step, ...]:
    try:
        import jsonpath
        from jsonpath.segments import JSONPathChildSegment
    except ImportError:
        raise UserError(f"{name} needs python-jsonpath: pip install multimodal-algo[local].") from None
    if len(path) > _MOST_CHARACTERS:
        raise UserError(f"{name} has {len(path)} characters: the platform takes at most {_MOST_CHARACTERS}.")
    if odd := _ODD_CHARACTER.search(path):
        raise UserError(f"{name}: the platform refuses '{odd.group()}'; use letters, digits and $[]*.,:'- only.")
    try:
        # The guide writes $.field1.['child1','child2'] too.
        query = jsonpath.compile(path.replace(".[", "["), strict=True)
    except jsonpath.JSONPathError as error:
        raise UserError(f"{name} is no JSONPath: {error.args[0]}.") from None
    assert isinstance(query, jsonpath.JSONPath)
    steps = tuple(tuple(map(_key, segment.selectors)) for segment in query.segments)
    if not (all(isinstance(part, JSONPathChildSegment) for part in query.segments) and all(map(_known, steps))):
        raise UserError(f"{name}: the platform has only $, .name, *, ['a','b'], [1,3] and one [2:5] in brackets.")
    return steps


def _key(selector: object) -> _Key:
    from jsonpath.selectors import IndexSelector, NameSelector, SliceSelector

    if isinstance(selector, NameSelector):
        return selector.name
    if isinstance(selector, IndexSelector):
        return selector.index
    return selector.slice if isinstance(selector, SliceSelector) else None


def _known(step: _Step) -> bool:
    """Whether the platform has brackets with these keys."""
    # The API's example $[0,5:] has an index beside a slice; the service refuses $[0:2,246:] (aws/sagemaker-python-sdk
    # issue 1112).
    slices = [key for key in step if isinstance(key, slice)]
    return (
        step == (None,)
        or all(isinstance(key, str) and "." not in key for key in step)
        or (all(isinstance(key, int | slice) for key in step) and len(slices) <= 1 and not any(s.step for s in slices))
    )


def _select(value: Any, steps: Sequence[_Step]) -> Any:
    """One name or index gives what it holds, several names an object, all else an array, as in json-path/JsonPath."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    found = [_select(_child(value, key), rest) for key in _keys(value, step)]
    if len(step) == 1:
        return found[0] if isinstance(step[0], str | int) else found
    return dict(zip(step, found, strict=True)) if isinstance(step[0], str) else found


def _keys(value: Any, step: _Step) -> Iterator[str | int]:
    for key in step:
        if key is None:
            yield from value if isinstance(value, dict) else range(_length(value))
        elif isinstance(key, slice):
            yield from _slice(key, _length(value))
        else:
            yield key


def _slice(part: slice, length: int) -> range:
    # The guide says that ends are inclusive ($[1:4]: "the second through fifth columns"; [:5]: "through the sixth
    # column"), and calls it an array slice, whose end is exclusive elsewhere. What the service does with an end is not
    # known, nor with a negative one, which is taken alike here.
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
        raise LookupError("it is no array")
    return len(value)


def _records(body: bytes, by_line: bool) -> list[bytes]:
    # Of bytes, readlines cuts at \n alone.
    return io.BytesIO(body).readlines() if by_line else [body]


def _ending(record: bytes) -> bytes:
    return b"\n" if record.endswith(b"\n") else b""


@contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except LookupError as error:
        raise UserError(f"{where}: {error.args[0]}.") from None
    except (ValueError, csv.Error) as error:
        raise UserError(f"{where} cannot be read ({error}); no line may hold a part of a record.") from None
