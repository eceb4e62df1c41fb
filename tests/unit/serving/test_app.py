from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from multimodal_algo.serving.app import create_app
from multimodal_algo.serving.decoding import Header, Kind, Reading
from multimodal_algo.serving.service import ModelService


class Recorder(ModelService):
    """A service without a model, which keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__(lambda: None, lambda: 0.0)  # type: ignore[arg-type,return-value]
        self.asked: tuple[Any, ...] = ()

    def answer(self, body: bytes, kind: Kind, accepted: Kind, request: Reading = Reading(), *_: Any) -> bytes:  # noqa: B008
        self.asked = (body, kind, accepted, request)
        return b"x\n"


@pytest.fixture
def service() -> Recorder:
    return Recorder()


@pytest.fixture
def client(service: Recorder) -> FlaskClient:
    return create_app(service, dict, 10_000).test_client()


def post(client: FlaskClient, headers: Mapping[str, str], body: bytes = b"1,x\n") -> Any:
    return client.post("/invocations", data=body, headers=dict(headers))


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("text/csv", Kind.CSV),
        ("text/csv;charset=UTF-8", Kind.CSV),
        ("Text/CSV; Charset=utf-8; header=auto", Kind.CSV),
        ("application/csv", Kind.CSV),
        ("application/octet-stream", Kind.CSV),
        ("", Kind.CSV),
        ("application/json;charset=utf-8", Kind.JSON),
        ("application/json; q=0.9", Kind.JSON),
        ("application/jsonlines; verbose=True", Kind.JSON_LINES),
        ("application/x-parquet", Kind.PARQUET),
    ],
)
def test_parameters_of_a_content_type_do_not_change_the_format(
    client: FlaskClient, service: Recorder, content_type: str, kind: Kind
) -> None:
    assert post(client, {"Content-Type": content_type}).status_code == 200
    assert service.asked[1] is kind


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", Kind.CSV),
        ("text/csv;charset=UTF-8", Kind.CSV),
        ("TEXT/CSV; header=present", Kind.CSV),
        ("application/csv", Kind.CSV),
        ("application/json", Kind.JSON),
        ("application/json; charset=utf-8", Kind.JSON),
        ("application/json;verbose=True", Kind.JSON),
        ("application/json;q=0.9", Kind.JSON),
        ("application/json;q=0.9;verbose=True", Kind.JSON),
        ("application/jsonlines; x=1, text/csv;q=0.2", Kind.JSON_LINES),
        ("text/csv;q=0.2, application/json;q=0.8", Kind.JSON),
        ("text/html, application/json;q=0.5", Kind.JSON),
        ("text/csv;q=0, application/json", Kind.JSON),
        ("text/html, */*;q=0.1", Kind.CSV),
        ("*/*", Kind.CSV),
        ("text/*", Kind.CSV),
        ("application/octet-stream", Kind.CSV),
        ("application/json;q=high", Kind.CSV),  # not a quality, so there is no wish
        ("", Kind.CSV),
        (None, Kind.CSV),
    ],
)
def test_parameters_and_qualities_of_accepted_types_are_understood(
    client: FlaskClient, service: Recorder, accept: str | None, kind: Kind
) -> None:
    headers = {"Content-Type": "text/csv"} | ({} if accept is None else {"Accept": accept})
    response = post(client, headers)
    assert response.status_code == 200
    assert service.asked[2] is kind
    assert response.mimetype == kind.value[0]


@pytest.mark.parametrize("accept", ["image/png", "text/html;q=1", "application/x-parquet", "text/csv;q=0"])
def test_what_cannot_be_answered_is_refused(client: FlaskClient, accept: str) -> None:
    assert post(client, {"Content-Type": "text/csv", "Accept": accept}).status_code == 406


@pytest.mark.parametrize(
    ("content_type", "reading"),
    [
        ("text/csv", Reading()),
        ("text/csv; header=Present; charset=latin-1", Reading("latin-1", Header.PRESENT)),
        ('text/csv; header="absent"; id=absent', Reading(header=Header.ABSENT, id_absent=True)),
        ("text/csv; ID=Present", Reading(id_absent=False)),
    ],
)
def test_the_content_type_says_how_lines_are_read(
    client: FlaskClient, service: Recorder, content_type: str, reading: Reading
) -> None:
    assert post(client, {"Content-Type": content_type}).status_code == 200
    assert service.asked[3] == reading


@pytest.mark.parametrize("content_type", ["text/csv; header=maybe", "text/csv; id=no", "text/html"])
def test_a_content_type_that_is_not_understood_is_refused(client: FlaskClient, content_type: str) -> None:
    assert post(client, {"Content-Type": content_type}).status_code == 415


def test_bodies_are_unpacked_within_the_limit(client: FlaskClient, service: Recorder) -> None:
    packed = gzip.compress(b"1,x\n" * 100)
    for headers in ({}, {"Content-Encoding": "gzip"}):
        assert post(client, {"Content-Type": "text/csv"} | headers, packed).status_code == 200
        assert service.asked[0] == b"1,x\n" * 100
    response = post(client, {"Content-Type": "text/csv"}, gzip.compress(b"0" * 10_001))
    assert response.status_code == 413
    assert "larger than 10000 bytes once unpacked" in response.json["error"]
    response = post(client, {"Content-Type": "text/csv"}, b"PK\x03\x04" + b"\0" * 30)
    assert response.status_code == 400
    assert "an Excel file (.xlsx)" in response.json["error"]
