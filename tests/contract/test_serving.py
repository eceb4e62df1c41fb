"""The platform's rules for ``serve``. The real program serves a read-only artifact over real HTTP."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
import signal
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multimodal_algo.local.runner import ProcessRunner
from multimodal_algo.local.server import LocalServer

CSV = {"Content-Type": "text/csv", "Accept": "text/csv"}


class Served:
    """A running server, and lines of the sample to send to it."""

    def __init__(self, server: LocalServer, lines: list[bytes]) -> None:
        self.server = server
        self.lines = lines

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> requests.Response:
        return requests.post(f"{self.server.url}/invocations", data=body, headers=headers or CSV, timeout=120)

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.server.url}{path}", timeout=10)

    def rows(self, body: bytes) -> list[list[str]]:
        response = self.post(body)
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"].startswith("text/csv")
        assert response.text == "" or response.text.endswith("\n")
        return list(csv.reader(io.StringIO(response.text)))


def assert_same(answers: list[list[str]], expected: list[list[str]]) -> None:
    """Compare answers. Probabilities may differ by rounding, since other rows of a batch change the order of sums."""
    assert [row[:2] for row in answers] == [row[:2] for row in expected]
    for answer, row in zip(answers, expected, strict=True):
        assert float(answer[2]) == pytest.approx(float(row[2]), abs=1e-4)


@contextmanager
def serving(artifact: Path, sample: Path, directory: Path, environment: dict[str, str]) -> Iterator[Served]:
    (directory / "model").symlink_to(artifact)
    lines = (sample / "test_noheader.csv").read_bytes().splitlines()[:12]
    with LocalServer(ProcessRunner(), directory, environment, directory / "serve.log") as server:
        yield Served(server, lines)


@pytest.fixture(scope="module")
def batch(artifact: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(artifact, sample, tmp_path_factory.mktemp("batch"), {"SAGEMAKER_BATCH": "True"}) as served:
        yield served


@pytest.fixture(scope="module")
def endpoint(artifact: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(artifact, sample, tmp_path_factory.mktemp("endpoint"), {}) as served:
        yield served


def test_ping_is_200_and_empty(batch: Served) -> None:
    response = batch.get("/ping")
    assert (response.status_code, response.content) == (200, b"")


def test_execution_parameters_have_no_batch_strategy_and_fit_the_platforms_buffer(batch: Served) -> None:
    answer = batch.get("/execution-parameters").json()
    assert "BatchStrategy" not in answer
    assert 0 < answer["MaxConcurrentTransforms"] * answer["MaxPayloadInMB"] <= 100


def test_each_line_is_answered_with_its_id_a_label_and_a_probability(batch: Served) -> None:
    answers = batch.rows(b"\n".join(batch.lines))
    assert [answer[0] for answer in answers] == [line.split(b",")[0].decode() for line in batch.lines]
    for _, label, probability in answers:
        assert label in ("lamp", "mug", "book", "chair")
        assert 0.25 <= float(probability) <= 1


@pytest.mark.parametrize(
    "body_of",
    [
        lambda lines: b"\n".join(lines) + b"\n",
        lambda lines: b"\n".join(lines),
        lambda lines: b"\r\n".join(lines) + b"\r\n",
        lambda lines: b"\xef\xbb\xbf" + b"\n".join(lines),
    ],
    ids=["final newline", "no final newline", "CRLF", "BOM"],
)
def test_line_ends_and_byte_order_marks_change_no_answer(batch: Served, body_of: object) -> None:
    expected = [batch.rows(line)[0] for line in batch.lines[:4]]
    answers = batch.rows(body_of(batch.lines[:4]))  # type: ignore[operator]
    assert_same(answers, expected)


def test_a_header_line_is_answered_with_the_output_names_and_loses_no_row(batch: Served) -> None:
    header = b"ID,title_text,description_text,price_num,weight_num,colour_cat,maker_cat,photo_image"
    names, *answers = batch.rows(header + b"\n" + batch.lines[0] + b"\n")
    assert names == ["ID", "predicted_label", "probability"]
    assert_same(answers, batch.rows(batch.lines[0]))


def test_unicode_line_separators_inside_text_do_not_cut_a_line(batch: Served) -> None:
    body = "00001,one\u2028two,x\x85y,1,2,red,Eiko,\n".encode()
    assert [row[0] for row in batch.rows(body)] == ["00001"]


def test_an_empty_body_is_answered_with_an_empty_200(batch: Served) -> None:
    assert batch.rows(b"") == []


def test_a_body_without_content_length_is_read(batch: Served) -> None:
    response = requests.post(
        f"{batch.server.url}/invocations", data=(line + b"\n" for line in batch.lines[:3]), headers=CSV, timeout=60
    )
    assert response.text.count("\n") == 3


BAD_LINES = {
    "width": b"77,a,b",
    "number": b"77,a,b,12kg,2,red,Eiko,",
    "base64": b"77,a,b,1,2,red,Eiko,abcde",
    "no image": b"77,a,b,1,2,red,Eiko,aGVsbG8gd29ybGQh",
    "encoding": b"77,\xff,b,1,2,red,Eiko,",
    "quote": b'77,"a"b,b,1,2,red,Eiko,',
    "blank": b"",
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_in_batch_a_bad_line_is_answered_with_empty_fields_in_its_place(batch: Served, line: bytes) -> None:
    answers = batch.rows(batch.lines[0] + b"\n" + line + b"\n" + batch.lines[1] + b"\n")
    assert len(answers) == 3
    assert answers[1][0] in ("77", "")
    assert answers[1][1:] == ["", ""]
    assert_same([answers[0], answers[2]], [batch.rows(good)[0] for good in batch.lines[:2]])


def test_in_batch_a_single_bad_record_does_not_fail_its_request(batch: Served) -> None:
    assert batch.rows(BAD_LINES["number"]) == [["77", "", ""]]
    assert "line 1 of its payload: column price_num: '12kg' is not a finite number" in batch.server.log_text()


def test_in_batch_mostly_bad_lines_are_refused_as_a_mistake(batch: Served) -> None:
    response = batch.post(b"\n".join([batch.lines[0], BAD_LINES["width"], BAD_LINES["width"]]))
    assert response.status_code == 400
    assert "2 of 3 lines cannot be read" in response.json()["error"]
    assert "line 2: 3 fields instead of 8 (ID, title_text" in response.json()["error"]


def test_a_torn_cell_is_refused_in_batch_too_because_its_rest_may_look_like_a_row(batch: Served) -> None:
    response = batch.post(batch.lines[0] + b'\n77,"torn\n')
    assert response.status_code == 400
    assert "line 2: a quote is not closed" in response.json()["error"]
    assert "multimodal-algo prepare" in response.json()["error"]


def test_a_quote_that_is_not_closed_costs_no_other_line_where_these_are_whole(batch: Served) -> None:
    answers = batch.rows(b'76,mug,b,1,2,red,Eiko,\n77,"torn\n78,27" lamp,b,1,2,red,Eiko,\n79,"mug,b,1,2,red,Eiko,\n')
    assert [row[0] for row in answers] == ["76", "77", "78", "79"]
    assert [row[1] == "" for row in answers] == [False, True, False, True]


def test_a_whole_body_with_quoted_newlines_is_one_row_each(batch: Served) -> None:
    body = b'1,"a\nlamp",b,1,2,red,Eiko,\r\n2,"a ""mug""\r\n\r\nfor tea",b,1,2,red,Eiko,\n'
    assert [row[0] for row in batch.rows(body)] == ["1", "2"]


def test_blank_lines_are_answered_in_their_place_and_do_not_count_as_bad(batch: Served) -> None:
    assert [row[1] == "" for row in batch.rows(b"\n\n" + batch.lines[0] + b"\n\n")] == [True, True, False, True]


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_an_endpoint_refuses_a_bad_line_with_its_place(endpoint: Served, line: bytes) -> None:
    response = endpoint.post(endpoint.lines[0] + b"\n" + line + b"\n")
    assert response.status_code == 400
    assert response.json()["error"].startswith("line 2: ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/csv; charset=utf-8; header=absent"}, 200),
        ({"Content-Type": "text/csv", "Accept": "text/csv; q=1"}, 200),
        ({"Content-Type": "text/csv", "Accept": ""}, 200),
        ({"Content-Type": "text/csv", "Accept": "*/*"}, 200),
        ({"Content-Type": "application/x-parquet"}, 400),
        ({"Content-Type": "application/pdf"}, 415),
        ({"Content-Type": "text/csv; header=maybe"}, 415),
        ({"Content-Type": "text/csv; id=maybe"}, 415),
        ({"Content-Type": "text/csv; charset=klingon"}, 400),
        ({"Content-Type": "text/csv", "Content-Encoding": "br"}, 400),
        ({"Content-Type": "Text/CSV;charset=UTF-8", "Accept": "text/csv; charset=utf-8"}, 200),
        ({"Content-Type": "application/csv", "Accept": "application/json;verbose=True"}, 200),
        ({"Content-Type": "text/csv", "Accept": "application/json;q=0.9"}, 200),
        ({"Content-Type": "text/csv", "Accept": "text/html, application/csv;q=0.5, image/*;q=0.1"}, 200),
        ({"Content-Type": "text/csv", "Accept": "text/html, */*;q=0.1"}, 200),
        ({"Content-Type": "text/csv", "Accept": "image/png"}, 406),
        ({"Content-Type": "text/csv", "Accept": "application/jsonlines, text/csv;q=0.5"}, 200),
    ],
)
def test_content_types_carry_parameters_and_unknown_ones_are_refused(
    endpoint: Served, headers: dict[str, str], status: int
) -> None:
    response = endpoint.post(endpoint.lines[0], headers)
    assert response.status_code == status
    assert status == 200 or response.json()["error"]


COLUMNS = (
    "ID", "title_text", "description_text", "price_num", "weight_num", "colour_cat", "maker_cat", "photo_image"
)  # fmt: skip


def objects(lines: list[bytes]) -> list[dict[str, str]]:
    rows = csv.reader(io.StringIO(b"\n".join(lines).decode()))
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def as_csv(rows: list[Iterable[str]]) -> bytes:
    """Return a CSV body with the columns from last to first."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([list(row)[::-1] for row in rows])
    return text.getvalue().encode()


def as_parquet(rows: list[dict[str, str]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def test_gzip_is_unpacked_and_named_where_it_is_broken(endpoint: Served) -> None:
    body = b"\n".join(endpoint.lines)
    expected = endpoint.rows(body)
    for headers in (CSV, CSV | {"Content-Encoding": "gzip"}):
        response = endpoint.post(gzip.compress(body), headers)
        assert_same(list(csv.reader(io.StringIO(response.text))), expected)
    assert "cut off" in endpoint.post(gzip.compress(body)[:-9]).json()["error"]
    response = endpoint.post(gzip.compress(b"0" * (30 << 20)))
    assert response.status_code == 413
    assert "once unpacked" in response.json()["error"]


def test_a_header_in_another_order_is_matched_by_name_on_endpoints_and_refused_in_batch(
    endpoint: Served, batch: Served
) -> None:
    rows = objects(endpoint.lines[:3])
    body = as_csv([COLUMNS, *(row.values() for row in rows)])
    names, *answers = endpoint.rows(body)
    assert names == ["ID", "predicted_label", "probability"]
    assert_same(answers, endpoint.rows(b"\n".join(endpoint.lines[:3])))
    assert "line 1 is a header" in batch.post(body).json()["error"]


def test_lines_without_id_are_read_where_the_content_type_says_so(endpoint: Served) -> None:
    body = b"\n".join(line.split(b",", 1)[1] for line in endpoint.lines[:3])
    assert "is ID missing? Set inference_id=absent" in endpoint.post(body).json()["error"]
    response = endpoint.post(body, CSV | {"Content-Type": "text/csv; id=absent"})
    expected = endpoint.rows(b"\n".join(endpoint.lines[:3]))
    answers = [["", *row] for row in csv.reader(io.StringIO(response.text))]
    assert_same(answers, [["", *row[1:]] for row in expected])


def test_keys_of_their_own_are_logged_once_for_a_payload(batch: Served) -> None:
    rows = [row | {"_source": "web"} for row in objects(batch.lines[:3])]
    body = b"\n".join(json.dumps(row).encode() for row in rows)
    response = batch.post(body, {"Content-Type": "application/jsonlines"})
    assert response.text.count("\n") == 3
    assert "keys that are not columns of the model are ignored: '_source' (3 rows)" in batch.server.log_text()


BODIES = {
    "application/jsonlines": lambda rows: b"\n".join(json.dumps(row).encode() for row in rows),
    "application/json": lambda rows: json.dumps({"instances": rows}).encode(),
    "application/x-parquet": as_parquet,
    "text/csv; header=present": lambda rows: as_csv([COLUMNS, *(row.values() for row in rows)]),
}


@pytest.mark.parametrize("content_type", BODIES)
def test_every_content_type_gets_the_same_answers(batch: Served, content_type: str) -> None:
    lines = batch.lines[:5]
    expected = batch.rows(b"\n".join(lines))
    body = BODIES[content_type](objects(lines))  # type: ignore[no-untyped-call]
    response = batch.post(body, {"Content-Type": content_type, "Accept": "application/jsonlines"})
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"].startswith("application/jsonlines")
    answers = [json.loads(line) for line in response.text.split("\n") if line]
    if content_type == "application/json":
        answers = batch.post(body, {"Content-Type": content_type}).json()["predictions"]
    if "header" in content_type:
        assert batch.post(body, {"Content-Type": content_type}).text.startswith("ID,predicted_label,probability\n")
    assert [list(answer) for answer in answers] == [["ID", "predicted_label", "probability"]] * 5
    for answer, row in zip(answers, expected, strict=True):
        assert [answer["ID"], answer["predicted_label"]] == row[:2]
        assert answer["probability"] == pytest.approx(float(row[2]), abs=1e-4)


def test_one_json_object_per_line_is_answered_with_one_object_per_line(batch: Served) -> None:
    (row,) = objects(batch.lines[:1])
    body = json.dumps(row).encode() + b"\n"
    json_type = {"Content-Type": "application/json", "Accept": "application/json"}
    assert json.loads(batch.post(body, json_type).text)["ID"] == row["ID"]
    assert [json.loads(line)["ID"] for line in batch.post(body * 3, json_type).text.splitlines()] == [row["ID"]] * 3


def test_the_environment_chooses_the_fields_of_an_answer(artifact: Path, sample: Path, tmp_path: Path) -> None:
    fields = ["predicted_label", "probabilities", "labels", "modality_weights", "prediction_set", "error"]
    environment = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_INFERENCE_OUTPUT": ",".join(fields),
        "INFERENCE_ENGINE": "torch",
        "COVERAGE": "0.8",
    }
    with serving(artifact, sample, tmp_path, environment) as served:
        good, bad = served.rows(served.lines[0] + b"\n" + BAD_LINES["number"] + b"\n")
        label, probabilities, labels, weights, members, error = good
        assert json.loads(members)[0] == label
        assert set(json.loads(members)) <= set(json.loads(labels))
        assert json.loads(labels)[int(np.argmax(json.loads(probabilities)))] == label
        assert sum(json.loads(probabilities)) == pytest.approx(1, abs=1e-4)
        assert set(json.loads(weights)) == {"text", "num", "cat", "image"}
        assert sum(json.loads(weights).values()) == pytest.approx(1, abs=1e-4)
        assert error == ""
        assert bad == ["", "", "", "", "", "column price_num: '12kg' is not a finite number"]
        served.server.process.send_signal(signal.SIGTERM)
        assert served.server.process.wait(timeout=30) == 0
        assert "served 2 rows of 1 requests, 1 of them bad" in served.server.log_text()


def test_an_output_field_that_does_not_exist_stops_the_server_with_a_message(
    artifact: Path, sample: Path, tmp_path: Path
) -> None:
    with serving(artifact, sample, tmp_path, {"SAGEMAKER_INFERENCE_OUTPUT": "probabilty"}) as served:
        assert served.server.process.wait(timeout=60) == 3
        assert "SAGEMAKER_INFERENCE_OUTPUT asks for 'probabilty': it may list id" in served.server.log_text()


def workers(served: Served) -> set[int]:
    return {child.pid for child in psutil.Process(served.server.process.pid).children()}


def replaced(served: Served, old: set[int]) -> bool:
    """Wait until other processes have taken the place of `old`."""
    while not (new := workers(served)) or new & old:
        assert served.server.process.poll() is None
    return True


def test_a_model_that_does_not_come_back_is_replaced_and_its_requests_get_the_reason(
    artifact: Path, sample: Path, tmp_path: Path
) -> None:
    # A batch of such long texts takes seconds. This is over the limit, like a model that hangs.
    body = b"".join(b"%d,%d %s,%d %s,1,2,red,Eiko,\n" % (n, n, b"lamp " * 300, n, b"tea " * 300) for n in range(256))
    environment = {"SAGEMAKER_BATCH": "true", "MODEL_TIMEOUT_S": "0.5", "INFERENCE_ENGINE": "torch"}
    with serving(artifact, sample, tmp_path, environment) as served:
        served.get("/ping")
        old = workers(served)
        response = served.post(body)
        assert response.status_code == 503
        assert "did not answer within 0.5 s and is started again" in response.json()["error"]
        assert replaced(served, old)
        assert len(served.rows(served.lines[0])) == 1


def test_garbage_of_many_clients_at_once_changes_no_answer(endpoint: Served) -> None:
    expected = endpoint.rows(b"\n".join(endpoint.lines))
    garbage = [b"\x00" * 50_000, b'"' * 9_999, b"[" * 50_000, b"\xff\xfe,", b",".join([b"x"] * 100_000), b"\r", b"{}"]
    types = [
        "text/csv",
        "application/jsonlines",
        "application/json",
        "application/x-parquet",
        "text/csv; charset=utf-16",
    ]

    def send(number: int) -> int:
        headers = {"Content-Type": types[number % len(types)]}
        return endpoint.post(garbage[number % len(garbage)], headers).status_code

    with ThreadPoolExecutor(64) as pool:
        codes = pool.map(send, range(1500))
        good = [pool.submit(endpoint.rows, b"\n".join(endpoint.lines)) for _ in range(20)]
        assert {code for code in codes} == {400}
        for answer in good:
            assert_same(answer.result(), expected)


CELL = st.text('ab1,;"\\n\\r=/+{}[]:é\\0', max_size=12)
LINE = st.lists(CELL, min_size=7, max_size=9).map(",".join)
JSON_BODY = st.lists(
    st.dictionaries(st.sampled_from([*COLUMNS, "label", "x"]), CELL | st.integers() | st.none()), max_size=4
)
HOSTILE = st.one_of(
    st.binary(max_size=400),
    st.lists(LINE, max_size=5).map(lambda lines: "\n".join(lines).encode()),
    JSON_BODY.map(lambda rows: json.dumps({"instances": rows}).encode()),
    JSON_BODY.map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
)
CONTENT_TYPES = ["text/csv", "text/csv; header=present", "text/csv; charset=utf-16", "application/jsonlines",
                 "application/json", "application/x-parquet", "", "a/b"]  # fmt: skip
ACCEPTS = ["", "*/*", "text/csv", "application/jsonlines", "application/json;q=0.1, text/*", "x"]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(HOSTILE, st.sampled_from(CONTENT_TYPES), st.sampled_from(ACCEPTS))
def test_no_request_makes_an_internal_error_or_another_number_of_answers(
    batch: Served, body: bytes, content_type: str, accept: str
) -> None:
    response = batch.post(body, {"Content-Type": content_type, "Accept": accept})
    assert response.status_code in (200, 400, 406, 415)
    if response.status_code != 200:
        assert response.json()["error"]
    elif content_type in ("text/csv", "") and accept in ("", "*/*", "text/csv") and b'"' not in body:
        records = body.removeprefix(b"\xef\xbb\xbf")
        assert response.text.count("\n") == records.count(b"\n") + (records[-1:] not in (b"", b"\n"))


def test_slow_clients_do_not_delay_other_requests(endpoint: Served) -> None:
    host, port = endpoint.server.url.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(40)]
    for connection in slow:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf a bo")
    assert len(endpoint.rows(endpoint.lines[0])) == 1
    assert endpoint.get("/ping").status_code == 200
    for connection in slow:
        connection.close()


def test_a_body_that_is_too_large_is_refused(endpoint: Served) -> None:
    response = endpoint.post(b"x" * (27 << 20))
    assert response.status_code == 413
    assert response.json()["error"]


def test_unknown_paths_and_methods_are_json_errors(endpoint: Served) -> None:
    assert endpoint.get("/nothing").status_code == 404
    assert endpoint.get("/invocations").status_code == 405
    assert endpoint.get("/nothing").json()["error"]


def damaged(artifact: Path, directory: Path, how: str) -> Path:
    model = directory / "model"
    shutil.copytree(artifact, model)
    if how == "missing file":
        (model / "wholistic/fusion.safetensors").unlink()
    elif how == "changed file":
        with (model / "wholistic/fusion.safetensors").open("ab") as stream:
            stream.write(b"x")
    elif how == "other version":
        config = model / "model_config.json"
        fields = json.loads(config.read_text())
        config.write_text(json.dumps(fields | {"format_version": 99}))
    else:
        (model / "model_config.json").unlink()
    return directory


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing file", "wholistic/fusion.safetensors is missing"),
        ("changed file", "wholistic/fusion.safetensors is not what was written"),
        ("other version", "format 99"),
        ("no description", "there is no model_config.json"),
    ],
)
def test_an_artifact_that_cannot_be_served_ends_the_process(
    artifact: Path, sample: Path, tmp_path: Path, how: str, message: str
) -> None:
    base = damaged(artifact, tmp_path, how)
    log = tmp_path / "serve.log"
    with LocalServer(ProcessRunner(), base, {"SAGEMAKER_BATCH": "true"}, log) as server:
        # The port answers before the artifact is checked. A request that waits for it gets the reason, pings get 500,
        # and then the process ends.
        response = requests.post(f"{server.url}/invocations", data=b"1", headers=CSV, timeout=60)
        assert response.status_code == 500
        assert message in response.json()["error"]
        assert requests.get(f"{server.url}/ping", timeout=2).status_code == 500
        assert server.process.wait(timeout=60) == 3
    assert message in log.read_text()
    assert "Traceback" not in log.read_text()


def test_sigterm_ends_the_server_after_the_requests_in_flight(artifact: Path, sample: Path, tmp_path: Path) -> None:
    with serving(artifact, sample, tmp_path, {}) as served:

        def body() -> Iterator[bytes]:
            yield served.lines[0] + b"\n"
            # The ping is answered, so the server also has this request, which came before. SIGTERM comes in the middle.
            assert served.get("/ping").status_code == 200
            served.server.process.send_signal(signal.SIGTERM)
            yield served.lines[1] + b"\n"

        response = requests.post(f"{served.server.url}/invocations", data=body(), headers=CSV, timeout=60)
        assert response.status_code == 200
        assert response.text.count("\n") == 2
        assert served.server.process.wait(timeout=30) == 0


def test_categories_that_training_never_saw_are_logged_once_for_each_payload(batch: Served) -> None:
    rows = list(csv.reader(io.StringIO(b"\n".join(batch.lines).decode())))
    for row, colour in zip(rows, ["taupe", "mauve", " green "], strict=False):
        row[5] = colour
    body = io.StringIO()
    csv.writer(body, lineterminator="\n").writerows(rows)
    before = batch.server.log_text()
    assert all(answer[1] for answer in batch.rows(body.getvalue().encode()))
    logged = batch.server.log_text()[len(before) :]
    assert "categories have values that training never saw: colour_cat in 2 of 12 rows (for example 'taupe')" in logged
    assert logged.count("never saw") == 1


def test_the_log_lists_the_devices_and_has_one_line_per_event(batch: Served) -> None:
    batch.post(batch.lines[0])
    lines = batch.server.log_text().splitlines()
    assert sum(" devices: " in line for line in lines) == 1
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:]{8} [A-Z]+ ", line) for line in lines), lines
    assert "\r" not in batch.server.log_text()
