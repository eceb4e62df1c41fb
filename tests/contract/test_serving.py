"""The platform's rules for ``serve``, with the real program over real HTTP on a read-only artifact."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from multimodal_algo.local.runner import ProcessRunner
from multimodal_algo.local.server import LocalServer

CSV = {"Content-Type": "text/csv", "Accept": "text/csv"}


class Served:
    """A running server and the sample's lines."""

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


def test_each_line_is_answered_by_its_id_a_label_and_a_probability(batch: Served) -> None:
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
    found = batch.rows(body_of(batch.lines[:4]))  # type: ignore[operator]
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert float(one[2]) == pytest.approx(float(other[2]), abs=1e-4)


def test_a_header_line_is_answered_by_output_names_and_loses_no_row(batch: Served) -> None:
    header = b"ID,title_text,description_text,price_num,weight_num,colour_cat,maker_cat,photo_image"
    found = batch.rows(header + b"\n" + batch.lines[0] + b"\n")
    assert found[0] == ["ID", "label", "probability"]
    assert found[1:] == batch.rows(batch.lines[0])


def test_unicode_line_separators_inside_text_do_not_cut_a_line(batch: Served) -> None:
    body = "00001,one\u2028two,x\x85y,1,2,red,Eiko,\n".encode()
    assert [row[0] for row in batch.rows(body)] == ["00001"]


def test_an_empty_body_is_answered_by_an_empty_200(batch: Served) -> None:
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
    "torn quote": b'77,"a',
    "blank": b"",
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_in_batch_a_bad_line_is_answered_with_empty_fields_in_its_place(batch: Served, line: bytes) -> None:
    found = batch.rows(batch.lines[0] + b"\n" + line + b"\n" + batch.lines[1] + b"\n")
    assert len(found) == 3
    assert found[1][0] in ("77", "")
    assert found[1][1:] == ["", ""]
    assert [found[0], found[2]] == [batch.rows(good)[0] for good in batch.lines[:2]]


def test_in_batch_a_single_bad_record_does_not_fail_its_request(batch: Served) -> None:
    assert batch.rows(BAD_LINES["number"]) == [["77", "", ""]]
    assert "line 1 of its payload: column price_num: '12kg' is not a finite number" in batch.server.log_text()


def test_in_batch_mostly_bad_lines_are_refused_as_a_mistake(batch: Served) -> None:
    response = batch.post(b"\n".join([batch.lines[0], BAD_LINES["width"], BAD_LINES["width"]]))
    assert response.status_code == 400
    assert "2 of 3 lines cannot be read" in response.json()["error"]
    assert "line 2: 3 fields instead of 8 (ID, title_text" in response.json()["error"]


def test_blank_lines_keep_their_place_and_are_no_mistake(batch: Served) -> None:
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
        ({"Content-Type": "application/x-parquet"}, 415),
        ({"Content-Type": "text/csv", "Accept": "image/png"}, 406),
    ],
)
def test_content_types_carry_parameters_and_unknown_ones_are_refused(
    endpoint: Served, headers: dict[str, str], status: int
) -> None:
    response = endpoint.post(endpoint.lines[0], headers)
    assert response.status_code == status
    assert status == 200 or response.json()["error"]


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
    ("how", "told"),
    [
        ("missing file", "wholistic/fusion.safetensors is missing"),
        ("changed file", "wholistic/fusion.safetensors is not what was written"),
        ("other version", "format 99"),
        ("no description", "there is no model_config.json"),
    ],
)
def test_an_artifact_that_cannot_be_served_ends_the_process(
    artifact: Path, sample: Path, tmp_path: Path, how: str, told: str
) -> None:
    base = damaged(artifact, tmp_path, how)
    log = tmp_path / "serve.log"
    with LocalServer(ProcessRunner(), base, {"SAGEMAKER_BATCH": "true"}, log) as server:
        # The port answers before the artifact was checked. A request that waits for it is told the reason, pings are
        # answered 500, and then the process ends.
        response = requests.post(f"{server.url}/invocations", data=b"1", headers=CSV, timeout=60)
        assert response.status_code == 500
        assert told in response.json()["error"]
        assert requests.get(f"{server.url}/ping", timeout=2).status_code == 500
        assert server.process.wait(timeout=60) == 3
    assert told in log.read_text()
    assert "Traceback" not in log.read_text()


def test_sigterm_ends_the_server_after_the_requests_in_flight(artifact: Path, sample: Path, tmp_path: Path) -> None:
    with serving(artifact, sample, tmp_path, {}) as served:

        def body() -> Iterator[bytes]:
            yield served.lines[0] + b"\n"
            # Answered, so the server has this request too, which came before: stop it in the middle.
            assert served.get("/ping").status_code == 200
            served.server.process.send_signal(signal.SIGTERM)
            yield served.lines[1] + b"\n"

        response = requests.post(f"{served.server.url}/invocations", data=body(), headers=CSV, timeout=60)
        assert response.status_code == 200
        assert response.text.count("\n") == 2
        assert served.server.process.wait(timeout=30) == 0


def test_the_log_says_what_devices_there_are_one_line_an_event(batch: Served) -> None:
    batch.post(batch.lines[0])
    lines = batch.server.log_text().splitlines()
    assert sum(" devices: " in line for line in lines) == 1
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:]{8} [A-Z]+ ", line) for line in lines), lines
    assert "\r" not in batch.server.log_text()
