"""The line between hosts, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from multimodal_algo.core.errors import PlatformError
from multimodal_algo.execution.hosts import Hosts
from multimodal_algo.execution.link import Leader, Lost, Member

# All of them are this machine.
NAMES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def hosts(current: str) -> Hosts:
    return Hosts(current, NAMES)


@pytest.fixture
def leader() -> Leader:
    return Leader(hosts(NAMES[0]), port=0)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def join(leader: Leader, name: str) -> Member:
    return Member.join(hosts(name), 5, leader.port)


def look_on(leader: Leader) -> None:
    while True:
        leader.require_all_well()


def test_all_come_are_invited_and_hear_the_end(leader: Leader, pool: ThreadPoolExecutor) -> None:
    members = [join(leader, name) for name in NAMES[1:]]
    leader.gather(5)
    assert leader.address == "127.0.0.1"
    leader.invite("127.0.0.1:6379")
    assert [member.invitation() for member in members] == ["127.0.0.1:6379"] * 2
    waiting = [pool.submit(member.wait_for_end) for member in members]
    ended = pool.submit(leader.end, None)
    for done, member in zip(waiting, members, strict=True):
        assert done.result(5) is None
        member.close()
    ended.result(5)


def test_who_does_not_come_is_named(leader: Leader) -> None:
    member = join(leader, NAMES[1])
    with pytest.raises(PlatformError, match=r"^127\.0\.0\.3 has not come within 0\.2 s, of the hosts "):
        leader.gather(0.2)
    member.close()
    leader.end("over")


def test_a_strangers_connection_is_none_of_a_host(leader: Leader) -> None:
    for said in (b"GET / HTTP/1.1\r\n\r\n", b'{"host": "elsewhere"}\n', b"[]\n\xff\n"):
        with socket.create_connection(("127.0.0.1", leader.port)) as stranger:
            stranger.sendall(said)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(100) == b""
    with pytest.raises(PlatformError, match=r"127\.0\.0\.2, 127\.0\.0\.3 have not come"):
        leader.gather(0.1)
    leader.end("over")


def test_a_failure_reaches_all(leader: Leader, pool: ThreadPoolExecutor) -> None:
    first, second = (join(leader, name) for name in NAMES[1:])
    leader.gather(5)
    second.fail("its GPU is broken")
    with pytest.raises(PlatformError, match=r"^127\.0\.0\.3: its GPU is broken$") as raised:
        look_on(leader)
    ended = pool.submit(leader.end, str(raised.value))
    for member in (first, second):
        with pytest.raises(PlatformError, match=r"^127\.0\.0\.3: its GPU is broken$"):
            member.invitation()
        member.close()
    ended.result(5)


def test_a_host_that_comes_after_the_end_hears_it(leader: Leader, pool: ThreadPoolExecutor) -> None:
    ended = pool.submit(leader.end, "127.0.0.1: a wrong hyperparameter")
    for name in NAMES[1:]:
        member = join(leader, name)
        with pytest.raises(PlatformError, match="a wrong hyperparameter"):
            member.invitation()
        member.close()
    ended.result(5)


def test_a_lost_first_host_is_told_from_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        member = Member.join(hosts(NAMES[1]), 5, server.getsockname()[1])
        connection, _ = server.accept()
        connection.close()
        with pytest.raises(Lost, match=r"^127\.0\.0\.1, the first host, was lost\."):
            member.invitation()


def test_a_first_host_that_is_not_there_is_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(PlatformError, match=r"^127\.0\.0\.1, the first host, was not reached from 127\.0\.0\.2"):
        Member.join(hosts(NAMES[1]), 0.1, port)


def test_a_lost_host_fails_nothing(leader: Leader, caplog: pytest.LogCaptureFixture, pool: ThreadPoolExecutor) -> None:
    stays, goes = (join(leader, name) for name in NAMES[1:])
    leader.gather(5)
    goes.close()
    ended = pool.submit(leader.end, None)
    stays.wait_for_end() if stays.invitation() else None
    stays.close()
    ended.result(5)
    leader.require_all_well()
