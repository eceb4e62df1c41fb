"""The front on real sockets, with a handler that answers with what it was asked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from multimodal_algo.serving.front import client, loop
from multimodal_algo.serving.front.conversation import HttpAnswer, HttpRequest
from multimodal_algo.serving.front.loop import Front, FrontLimits

LIMITS = FrontLimits(threads=2, clients=50, body_bytes=1_000_000, held_bytes=3_000_000)
POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Served:
    """A front in a thread. Its requests to ``/invocations`` wait for `is_free`."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.listener.setblocking(False)
        self.is_free = threading.Event()
        self.is_free.set()
        self.is_alive = True
        self.asked: list[HttpRequest] = []
        self.left: list[HttpRequest] = []
        self.begun = threading.Semaphore(0)

    def handle(self, request: HttpRequest, is_gone: Callable[[], bool]) -> HttpAnswer:
        self.asked.append(request)
        self.begun.release()
        if request.target == "/invocations":
            while not self.is_free.wait(0.01) and not is_gone():
                pass
        if is_gone():
            self.left.append(request)
        return HttpAnswer(200, (("content-type", "text/plain"),), request.body)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname(), timeout=20)

    def exchange(self, data: bytes, *, half_close: bool = False) -> tuple[int, bytes]:
        """Send bytes, and return the status and the body of the answer to the last request."""
        with self.connect() as connection:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return answer_on(connection)


def answer_on(connection: socket.socket) -> tuple[int, bytes]:
    stream = connection.makefile("rb")
    status = 100
    while status == 100:
        status = int(stream.readline().split()[1])
        headers = dict(line.lower().split(b": ") for line in iter(lambda: stream.readline().strip(), b""))
    return status, stream.read(int(headers[b"content-length"]))


@contextmanager
def served(limits: FrontLimits = LIMITS) -> Iterator[Served]:
    serving = Served()
    front = Front([serving.listener], serving.handle, limits)
    thread = threading.Thread(target=front.run, args=(lambda: serving.is_alive,))
    thread.start()
    try:
        yield serving
    finally:
        serving.is_free.set()
        serving.is_alive = False
        thread.join(20)
        assert not thread.is_alive()
        serving.listener.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    with served() as serving:
        yield serving


@pytest.mark.parametrize("half_close", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: 3\r\n\r\nabc",
        CHUNKED + b"1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n",
        b"POST http://x/invocations HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_a_whole_body_is_answered_also_where_the_client_has_closed_its_side(
    shared: Served, data: bytes, half_close: bool
) -> None:
    assert shared.exchange(data, half_close=half_close) == (200, b"abc")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (POST + b"Content-Length: 9\r\n\r\nabc", 400),
        (CHUNKED + b"3\r\nabc\r\n", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400),
        (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
        (CHUNKED + b"g\r\nabc\r\n0\r\n\r\n", 400),
        (CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n", 400),
        (CHUNKED + b"ffffffffffffffffffff\r\nabc", 400),
        (CHUNKED + b"3\r\nabc\r\n0\r\nx", 400),
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (POST + b"Content-Length: -3\r\n\r\nabc", 400),
        (POST + b"Content-Length: 1000001\r\n\r\n", 413),
        (POST + b"x: " + b"y" * 40_000, 431),
        (POST + b"Content-Le", 400),
        (b"GET /ping HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"GET /pi\xffng HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)
def test_what_is_not_a_whole_request_is_refused_with_json(shared: Served, data: bytes, status: int) -> None:
    answered, body = shared.exchange(data, half_close=True)
    assert answered == status
    assert json.loads(body)["error"]


def test_a_connection_has_many_requests_also_before_the_first_answer(shared: Served) -> None:
    with shared.connect() as connection:
        connection.sendall(PING + POST + b"Content-Length: 3\r\n\r\nabc" + PING)
        stream = connection.makefile("rb")
        found = []
        for _ in range(3):
            assert stream.readline().split()[1] == b"200"
            headers = dict(line.lower().split(b": ") for line in iter(lambda: stream.readline().strip(), b""))
            found.append(stream.read(int(headers[b"content-length"])))
        assert found == [b"", b"abc", b""]


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(shared: Served) -> None:
    with shared.connect() as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"abc")
        assert answer_on(connection) == (200, b"abc")


def test_pings_are_answered_while_clients_dawdle_and_all_threads_are_busy() -> None:
    with served() as serving:
        serving.is_free.clear()
        dawdling = [serving.connect() for _ in range(30)]
        for number, connection in enumerate(dawdling):
            connection.sendall((POST[: 10 + number], POST + b"Content-Length: 9\r\n\r\nabc")[number % 2])
        busy = [serving.connect() for _ in range(10)]
        for connection in busy:
            connection.sendall(POST + b"Content-Length: 3\r\n\r\nabc")
        assert serving.exchange(PING) == (200, b"")
        serving.is_free.set()
        assert [answer_on(connection) for connection in busy] == [(200, b"abc")] * 10
        for connection in (*dawdling, *busy):
            connection.close()


def test_connections_beyond_the_limit_take_the_place_of_the_one_that_waited_longest() -> None:
    with served() as serving:
        idle = [serving.connect() for _ in range(60)]
        assert serving.exchange(PING) == (200, b"")
        assert idle[0].recv(10) == b""
        idle[-1].sendall(PING)
        assert answer_on(idle[-1]) == (200, b"")
        for connection in idle:
            connection.close()


@pytest.mark.parametrize(
    "drips", [POST[:1], POST + b"Content-Length: 9\r\n\r\na", CHUNKED + b"1\r\na\r\n"], ids=["head", "body", "chunks"]
)
def test_a_request_that_drips_is_cut_off_after_its_total_time(drips: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_HEADERS_S", 0.5)
    monkeypatch.setattr(client, "_TRANSFER_S", 0.5)
    with served() as serving, serving.connect() as connection:
        connection.sendall(drips)
        connection.settimeout(0.01)
        for byte in POST * 1000:
            try:
                if answer := connection.recv(1000):
                    break
            except TimeoutError:
                connection.sendall(bytes([byte]) if b":" not in drips else b"")
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_bodies_that_come_take_no_more_memory_than_allowed() -> None:
    with served() as serving:
        coming = [serving.connect() for _ in range(6)]
        for connection in coming:
            connection.sendall(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 900_000)
        assert answer_on(coming[0])[0] == 503
        coming[-1].sendall(b"x" * 100_000)
        assert answer_on(coming[-1])[0] == 200
        for connection in coming:
            connection.close()


def test_requests_of_clients_that_have_left_are_not_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_ASK_S", 0.0)
    with served() as serving:
        serving.is_free.clear()
        leaving = [serving.connect() for _ in range(10)]
        for connection in leaving:
            connection.sendall(POST + b"Content-Length: 3\r\n\r\nabc")
            connection.close()
        for _ in range(2):  # as many as there are threads
            serving.begun.acquire(timeout=20)
        staying = serving.connect()
        staying.sendall(POST + b"Content-Length: 3\r\n\r\ndef")
        staying.shutdown(socket.SHUT_WR)
        serving.begun.acquire(timeout=20)
        serving.is_free.set()
        assert answer_on(staying) == (200, b"def")
        assert len(serving.left) == 2
        assert len(serving.asked) == 3
        staying.close()


def test_the_time_in_which_the_process_was_stopped_counts_for_no_client() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    connected = client.Client(ours, 1000)
    theirs.sendall(POST)
    assert connected.read() is None
    before = connected.ends_at
    connected.excuse(60)
    assert connected.ends_at == before + 60
    ours.close()
    theirs.close()
