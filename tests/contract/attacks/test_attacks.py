"""Attacks on one server over real sockets. Each is answered, and the worker lives in bounded memory."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile
import psutil
import pytest
import requests

from multimodal_algo.local.runner import ProcessRunner
from multimodal_algo.local.server import LocalServer

CSV = {"Content-Type": "text/csv"}
# Memory that a request may add to a worker: what docs/security.md states, for bodies of this size.
MOST_ADDED_BYTES = 2_500_000_000
POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"


class Attacked:
    """A running server, its worker, and a row with its answer."""

    def __init__(self, server: LocalServer, row: bytes) -> None:
        self.server = server
        self.row = row
        self.expected = self.post(row).text

    @property
    def workers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.server.process.pid).children()}

    def post(self, body: bytes, kind: str = "text/csv") -> requests.Response:
        return requests.post(f"{self.server.url}/invocations", data=body, headers={"Content-Type": kind}, timeout=120)

    def ping(self) -> int:
        # The platform waits for 2 s.
        return requests.get(f"{self.server.url}/ping", timeout=2).status_code

    def connect(self) -> socket.socket:
        host, port = self.server.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=60)

    def exchange(self, data: bytes) -> bytes:
        """Send bytes, close this side, and return all that comes back."""
        with self.connect() as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))


def memory(pid: int, field: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(field))


@pytest.fixture(scope="module")
def attacked(artifact: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    directory = tmp_path_factory.mktemp("attacked")
    (directory / "model").symlink_to(artifact)
    row = (sample / "test_noheader.csv").read_bytes().splitlines()[0]
    with LocalServer(ProcessRunner(), directory, {}, directory / "serve.log") as server:
        yield Attacked(server, row)


@pytest.fixture
def worker(attacked: Attacked) -> Iterator[int]:
    """The worker under a memory limit, which lives and answers as before after the test, and gives memory back."""
    (pid,) = attacked.workers
    before = memory(pid, "VmData")
    resource.prlimit(pid, resource.RLIMIT_DATA, (before + 2 * MOST_ADDED_BYTES, resource.RLIM_INFINITY))
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the peak
    before = memory(pid, "VmRSS")
    yield pid
    assert attacked.workers == {pid}
    assert memory(pid, "VmHWM") - before < MOST_ADDED_BYTES
    assert attacked.post(attacked.row).text == attacked.expected
    assert attacked.ping() == 200


@pytest.mark.parametrize("name", hostile.REFUSED)
def test_a_body_that_would_be_too_large_is_refused_and_the_worker_lives(
    attacked: Attacked, worker: int, name: str
) -> None:
    kind, make = hostile.REFUSED[name]
    response = attacked.post(make(), kind)
    assert response.status_code in (400, 413), response.text[:200]
    assert response.json()["error"]


@pytest.mark.parametrize("name", hostile.ANSWERED)
def test_a_large_row_is_answered_in_bounded_memory(attacked: Attacked, worker: int, name: str) -> None:
    kind, make = hostile.ANSWERED[name]
    body = make()
    response = attacked.post(body, kind)
    assert response.status_code == 200, response.text[:200]
    assert response.text.count("\n") == body.count(b"\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (POST + b"Content-Length: 99\r\n\r\n1,x", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n1,x", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n1,x\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\n1,xyz\r\n0\r\n\r\n", 400),
        (b"\0" * 100, 400),
        (POST + b"X: " + b"x" * 100_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_cut_off_or_broken_is_refused_with_json(attacked: Attacked, data: bytes, status: int) -> None:
    answer = attacked.exchange(data)
    assert answer.split(b" ")[1] == str(status).encode()
    assert b'{"error": "' in answer


def test_a_client_that_closes_its_side_after_a_whole_body_is_answered(attacked: Attacked) -> None:
    answer = attacked.exchange(POST + b"Content-Length: %d\r\n\r\n" % len(attacked.row) + attacked.row)
    assert answer.endswith(attacked.expected.encode())


def test_pings_and_rows_are_answered_while_80_clients_drip(attacked: Attacked, worker: int) -> None:
    dripping = [attacked.connect() for _ in range(160)]
    for turn in range(5):
        for number, connection in enumerate(dripping):
            begin = POST if number % 2 else POST + b"Content-Length: 999\r\n\r\n1,x,"
            connection.sendall(begin[turn : turn + 1] if turn < 4 else begin[4:])
        assert attacked.ping() == 200
        assert attacked.post(attacked.row).text == attacked.expected
    for connection in dripping:
        connection.close()


def test_a_worker_that_was_stopped_goes_on_where_it_was(attacked: Attacked, worker: int) -> None:
    request = POST + b"Content-Length: %d\r\n\r\n" % len(attacked.row) + attacked.row
    with attacked.connect() as connection:
        connection.sendall(request[:100])
        os.kill(worker, signal.SIGSTOP)
        connection.sendall(request[100:])
        os.kill(worker, signal.SIGCONT)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.endswith(attacked.expected.encode())


def test_when_the_worker_is_killed_clients_are_cut_off_or_answered_and_another_one_serves(attacked: Attacked) -> None:
    old = attacked.workers
    body = (attacked.row + b"\n") * 3

    def send(_: int) -> str:
        try:
            return attacked.post(body).text
        except requests.ConnectionError:
            return ""

    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(send, range(48))
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        while not (new := attacked.workers) or new & old:
            assert attacked.server.process.poll() is None
        assert attacked.ping() == 200
        assert {answer for answer in answers if answer} <= {attacked.expected * 3}
    assert attacked.post(body).text == attacked.expected * 3
