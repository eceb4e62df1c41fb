from __future__ import annotations

import csv
import io
import json
from typing import Any

import jsonpath  # noqa: F401  # here, so that Hypothesis does not time the import
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.config.transform import AssembleWith, JoinSource, SplitType, TransformSettings
from multimodal_algo.core.errors import UserError
from multimodal_algo.local.processing import Processor
from multimodal_algo.local.records import Payload

CSV, LINES, JSON = "text/csv", "application/jsonlines", "application/json"
# What RFC 4180 quotes, and what the platform's records cannot hold.
CELLS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=8)
ROWS = st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=6)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)


def processor(
    media: str, input_filter: str = "$", join: str = "None", output_filter: str = "$", **more: Any
) -> Processor:
    filters = {"input_filter": input_filter, "join_source": JoinSource(join), "output_filter": output_filter}
    return Processor(TransformSettings(**{"content_type": media, "accept": media} | filters | more))


def sent(media: str, path: str, body: bytes, **more: Any) -> bytes:
    return processor(media, path, **more).request(Payload(body, 1, body.count(b"\n")), "x")


def kept(media: str, path: str, body: bytes, answer: bytes, **more: Any) -> bytes:
    return processor(media, "$", "Input", path, **more).result(Payload(body, 1, body.count(b"\n")), answer, "x")


def as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def read_csv(body: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode(), newline="")))


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_without_filters_and_join_bytes_pass_through_untouched(body: bytes, answer: bytes) -> None:
    plain = Processor(TransformSettings(content_type="x/y", split_type=SplitType.NONE, assemble_with=AssembleWith.NONE))
    assert not plain.is_needed
    assert plain.request(Payload(body, 1, 1), "x") == body
    assert plain.result(Payload(body, 1, 1), answer, "x") == answer


@given(ROWS)
def test_quoted_cells_come_through_a_filter_of_all_columns(rows: list[list[str]]) -> None:
    assert read_csv(sent(CSV, "$[0:]", as_csv(rows))) == rows


@given(ROWS, st.randoms())
def test_a_join_of_csv_keeps_count_and_order(rows: list[list[str]], random: Any) -> None:
    answers = [[f"{number}", random.choice(["a,b", 'say "x"', ""])] for number in range(len(rows))]
    joined = read_csv(kept(CSV, "$", as_csv(rows), as_csv(answers)))
    assert joined == [row + answer for row, answer in zip(rows, answers, strict=True)]


@given(st.lists(DOCUMENTS, min_size=1, max_size=5))
def test_a_join_of_json_lines_keeps_count_and_order(records: list[Any]) -> None:
    body = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    answers = b"".join(b"%d\n" % number for number in range(len(records)))
    joined = [json.loads(line) for line in io.BytesIO(kept(LINES, "$", body, answers))]
    for number, (record, found) in enumerate(zip(records, joined, strict=True)):
        given_record = record if isinstance(record, dict) else {"SageMakerInput": record}
        assert found == given_record | {"SageMakerOutput": number}


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("$[0]", "a"),
        ("$[-1]", "f"),
        ("$[1,3,5]", "b,d,f"),
        ("$[0, -1]", "a,f"),
        ("$[1,1]", "b,b"),
        # The guide: "the second through fifth columns".
        ("$[1:4]", "b,c,d,e"),
        # The guide: "from the first column (index 0) through the sixth column".
        ("$[:5]", "a,b,c,d,e,f"),
        # The guide: "from the 6th column through the last column".
        ("$[5:]", "f"),
        ("$[-2:]", "e,f"),
        ("$[0,4:]", "a,e,f"),
        ("$[*]", "a,b,c,d,e,f"),
    ],
)
def test_columns_are_selected_by_index(path: str, row: str) -> None:
    assert sent(CSV, path, b"a,b,c,d,e,f\n") == row.encode() + b"\n"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.id", 7),
        ("$['id']", 7),
        ("$.features", [1, 2, 3]),
        ("$.features[0:1]", [1, 2]),
        ("$.features[-1]", 3),
        ("$['id','name']", {"id": 7, "name": "ä"}),
        ("$.deep.['a','b']", {"a": 1, "b": 2}),
        ("$.deep.*", [1, 2]),
        ("$.rows[*].x", [1, 2]),
        ("$.rows[*]['x','y']", [{"x": 1, "y": 3}, {"x": 2, "y": 4}]),
    ],
)
def test_attributes_are_selected_by_name(path: str, value: Any) -> None:
    record = {"id": 7, "name": "ä", "features": [1, 2, 3], "deep": {"a": 1, "b": 2}}
    record |= {"rows": [{"x": 1, "y": 3}, {"x": 2, "y": 4}]}
    assert json.loads(sent(LINES, path, json.dumps(record).encode())) == value


@pytest.mark.parametrize(
    ("media", "path", "message"),
    [
        (LINES, "$..id", r"the platform has only \$"),
        (LINES, "$[?@.id]", "the platform refuses '\\?'"),
        (LINES, "$['account_id']", "the platform refuses '_'"),
        (LINES, "$['a.b']", "the platform has only"),
        (LINES, "$['a',1]", "the platform has only"),
        (LINES, "$[*,1]", "the platform has only"),
        (CSV, "$[0:2,4:]", "the platform has only"),
        (CSV, "$[0:4:2]", "the platform has only"),
        (LINES, "id", "is not a JSONPath"),
        (LINES, "", "is not a JSONPath"),
        (LINES, "$[", "is not a JSONPath"),
        (LINES, f"$.{'x' * 62}", "has 64 characters: the platform takes at most 63"),
        (CSV, "$.id", "Select by index"),
        (CSV, "$[0][1]", "Select by index"),
    ],
)
@pytest.mark.parametrize("setting", ["InputFilter", "OutputFilter"])
def test_paths_that_the_platform_has_not_are_refused(setting: str, media: str, path: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        processor(media, **{"input_filter" if setting == "InputFilter" else "output_filter": path})
    assert str(caught.value).startswith(f"{setting} {path}")


@pytest.mark.parametrize("path", ["$[2]", "$[-3]", "$[0:2]", "$[2:]", "$[0,5:]"])
def test_an_index_outside_of_a_record_is_reported_with_its_line(path: str) -> None:
    with pytest.raises(
        UserError, match=r"x, line 2: InputFilter .* selects a part that is not there \(there are 2 elements\)"
    ):
        sent(CSV, path, b"a,b,c,d,e,f\na,b\n")


def test_a_name_that_a_record_has_not_is_reported() -> None:
    with pytest.raises(
        UserError, match=r"x, line 1: InputFilter \$\.id selects a part that is not there \(there is no 'id'\)"
    ):
        sent(LINES, "$.id", b'{"name":1}\n')


@pytest.mark.parametrize(
    ("media", "record"), [(CSV, b'1,"torn\n'), (CSV, b'1,"a"b\n'), (LINES, b'{"a":\n'), (LINES, b"\n")]
)
def test_a_record_that_cannot_be_read_is_reported_with_its_line(media: str, record: bytes) -> None:
    good = b"1,2\n" if media == CSV else b"[1,2]\n"
    with pytest.raises(UserError, match="x, line 2 cannot be read"):
        sent(media, "$[0]", good + record)


def test_a_filter_keeps_line_ends_cells_of_any_size_and_bytes_that_are_no_text() -> None:
    assert sent(CSV, "$[1:]", b'1,"a,b",\xff\r\n2,' + b"x" * 200_000 + b",") == b'"a,b",\xff\n' + b"x" * 200_000 + b","


def test_a_blank_line_is_one_empty_column() -> None:
    assert kept(CSV, "$", b"a,b\n\n", b"1\n2\n") == b"a,b,1\n,2\n"


def test_an_answer_for_each_record_is_required_and_both_counts_are_reported() -> None:
    with pytest.raises(UserError, match="x, payload from line 1: 2 records were answered with 1 lines"):
        kept(CSV, "$", b"a\nb\n", b"1\n")


def test_an_attribute_that_is_reserved_for_the_answer_is_overwritten() -> None:
    assert kept(LINES, "$", b'{"SageMakerOutput":1,"a":2}\n', b"3\n") == b'{"SageMakerOutput":3,"a":2}\n'


def test_a_whole_json_file_is_one_record() -> None:
    whole = {"split_type": SplitType.NONE, "assemble_with": AssembleWith.NONE}
    assert kept(JSON, "$", b'{\n"key": 1\n}', b'{\n"label": 1}\n', **whole) == (
        b'{"key":1,"SageMakerOutput":{"label":1}}\n'
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accept": LINES}, r"needs ContentType \(text/csv\) and Accept \(application/jsonlines\) to be the same"),
        ({"accept": "text/plain"}, "Accept is 'text/plain' and must be one of text/csv"),
        ({"content_type": "application/x-parquet"}, "ContentType is 'application/x-parquet' and must be one of"),
        ({"split_type": SplitType.NONE}, "text/csv is processed by lines. Set SplitType=Line"),
        ({"assemble_with": AssembleWith.NONE}, "text/csv is processed by lines. Set AssembleWith=Line"),
        (
            {"content_type": JSON, "accept": JSON, "assemble_with": AssembleWith.NONE},
            r"SplitType \(Line\) and AssembleWith \(None\)",
        ),
    ],
)
def test_a_join_needs_one_format_and_the_same_lines(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        processor(CSV, "$", "Input", **settings)


def test_parameters_of_a_media_type_are_passed_over() -> None:
    assert processor(CSV, "$", "Input", content_type="text/csv; charset=utf-8", accept="TEXT/CSV").is_needed
