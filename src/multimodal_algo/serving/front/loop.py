"""The loop that reads and writes all connections of a process.

A connection needs a thread only while its request is answered: from the moment at which the whole request has arrived.
So clients that send or receive slowly, or not at all, occupy no thread. Requests for ``/ping`` and other short ones
have threads of their own.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from multimodal_algo.serving.front.client import Client, Phase
from multimodal_algo.serving.front.conversation import HttpAnswer, HttpRequest, Refused
from multimodal_algo.serving.front.gateway import IsGone, path_of

_LOG = logging.getLogger(__name__)

Handle = Callable[[HttpRequest, IsGone], HttpAnswer]
"""Function that answers a request."""

_LONG_PATH = "/invocations"
_SHORT_THREADS = 4
# How often the loop looks for clients that take too long.
_LOOK_S = 0.25
# A loop that is later than this was stopped, or waited for the interpreter's lock.
_LATE_S = 1.0
# A client that closed its side, and has no answer after this time, is asked whether it is still there.
_ASK_S = 0.5
# A server that stops keeps connections for this time, for requests that are on their way.
_LINGER_S = 1.0
_MOST_ACCEPTED = 64
_READABLE, _WRITABLE, _LEFT = select.EPOLLIN, select.EPOLLOUT, select.EPOLLRDHUP
_BROKEN = select.EPOLLERR | select.EPOLLHUP


@dataclass(frozen=True)
class FrontLimits:
    """The limits of a front: how many threads, connections and bytes it may use.

    Parameters
    ----------
    threads
        Largest number of requests to ``/invocations`` that are answered at the same time.
    clients
        Largest number of connections. If there are more, the one that has waited longest is closed.
    body_bytes
        Size in bytes of the largest request body.
    held_bytes
        Largest number of bytes of all bodies that are being read or answered. If there are more, the body that has been
        arriving longest is refused.
    """

    threads: int
    clients: int
    body_bytes: int
    held_bytes: int


class Front:
    """Reads requests from all connections, lets threads answer them, and writes the answers.

    Parameters
    ----------
    listeners
        Listening sockets in non-blocking mode.
    handle
        Answers a request. It is called in a thread.
    limits
        Limits of threads, connections and bytes.
    """

    def __init__(self, listeners: Sequence[socket.socket], handle: Handle, limits: FrontLimits) -> None:
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._handle = handle
        self._limits = limits
        self._long = ThreadPoolExecutor(limits.threads, thread_name_prefix="invocation")
        self._short = ThreadPoolExecutor(_SHORT_THREADS, thread_name_prefix="short-request")
        self._clients: dict[int, Client] = {}
        self._held_bytes = 0
        self._answers: deque[tuple[Client, HttpAnswer | None]] = deque()
        self._answered = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller = select.epoll()
        self._poller.register(self._answered, _READABLE)
        for number in self._listeners:
            self._poller.register(number, _READABLE | select.EPOLLEXCLUSIVE)
        self._look_at = time.monotonic()
        self._is_stopping = False

    def run(self, beat: Callable[[], bool]) -> None:
        """Serve until `beat` returns False, and then until all requests are answered.

        `beat` is called several times a second.
        """
        while not self._is_stopping or any(client.phase is not Phase.DRAINING for client in self._clients.values()):
            for number, events in self._poller.poll(_LOOK_S):
                self._on_event(number, events)
            while self._answers:
                self._on_answer(*self._answers.popleft())
            now = time.monotonic()
            if now >= self._look_at:
                self._excuse_clients(now - self._look_at)
                self._look_at = now + _LOOK_S
                if not beat():
                    self._stop()
                self._look_after_clients(now)

    def _stop(self) -> None:
        """Accept no more connections. Keep the present ones only until their requests are answered."""
        self._is_stopping = True
        for number in self._listeners:
            self._poller.unregister(number)
        self._listeners = {}

    def _on_event(self, number: int, events: int) -> None:
        if number == self._answered:
            os.eventfd_read(number)
        elif number in self._listeners:
            self._accept(self._listeners[number])
        elif client := self._clients.get(number):
            try:
                self._on_client(client, events)
            except OSError:
                self._close(client)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_MOST_ACCEPTED):
            if len(self._clients) >= self._limits.clients:
                self._close_longest()
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # the client has left, or there are no more file descriptors
                _LOG.debug("a connection is not accepted: %s", error)
                self._close_longest()
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients[sock.fileno()] = Client(sock, self._limits.body_bytes)
            self._poller.register(sock.fileno(), _READABLE)

    def _close_longest(self) -> None:
        """Close the connection that has waited longest. Connections without a request are closed before others."""
        waiting = [client for client in self._clients.values() if client.phase is Phase.WAITING]
        reading = [client for client in self._clients.values() if client.phase in (Phase.READING, Phase.DRAINING)]
        if candidates := waiting or reading:
            self._close(min(candidates, key=lambda client: client.began_at))

    def _on_client(self, client: Client, events: int) -> None:
        if client.phase in (Phase.WAITING, Phase.READING):
            self._read(client)
        elif client.phase is Phase.ANSWERING:
            self._on_left(client, events)
        elif client.phase is Phase.WRITING:
            self._write(client)
        elif not client.discard():
            self._close(client)

    def _read(self, client: Client) -> None:
        try:
            request = client.read()
            self._hold(client, client.talk.body_bytes)
            self._make_room()
            if client.phase in (Phase.WAITING, Phase.READING):
                self._on_request(client, request)
        except Refused as refused:
            self._refuse(client, refused)

    def _on_request(self, client: Client, request: HttpRequest | None) -> None:
        """If all of a request has arrived, let a thread answer it."""
        if request is not None:
            client.enter(Phase.ANSWERING)
            self._poller.modify(client.sock, _LEFT if client.left_at is None else 0)
            pool = self._long if path_of(request.target) == _LONG_PATH else self._short
            pool.submit(self._answer, client, request)
        elif client.left_at is not None:
            self._close(client)
        elif client.talk.is_awaited:
            client.send_interim()

    def _make_room(self) -> None:
        """If all bodies together take too much memory, refuse some that are still arriving: those that began first."""
        while self._held_bytes > self._limits.held_bytes:
            reading = [client for client in self._clients.values() if client.phase is Phase.READING]
            if not (holding := [client for client in reading if client.held_bytes]):
                return
            slowest = min(holding, key=lambda client: client.began_at)
            self._refuse(slowest, Refused(503, "The server has too many bodies at once. Send the request again."))

    def _hold(self, client: Client, size: int) -> None:
        self._held_bytes += size - client.held_bytes
        client.held_bytes = size

    def _answer(self, client: Client, request: HttpRequest) -> None:
        """Answer a request. This method runs in a thread."""
        answer = None
        try:
            if not client.is_gone:
                answer = self._handle(request, lambda: client.is_gone)
        except Exception:
            _LOG.exception("a request failed")
            answer = Refused(500, "An internal error occurred. The log has it.").answer
        self._answers.append((client, answer))
        os.eventfd_write(self._answered, 1)

    def _on_answer(self, client: Client, answer: HttpAnswer | None) -> None:
        self._hold(client, 0)
        try:
            if answer is None or client.is_gone:
                self._close(client)
            else:
                client.answer(answer, closes=self._is_stopping)
                self._write(client)
        except OSError:
            self._close(client)

    def _refuse(self, client: Client, refused: Refused) -> None:
        self._hold(client, 0)
        _LOG.warning("request refused: %s", refused)
        try:
            client.answer(refused.answer, closes=True)
            self._write(client)
        except OSError:
            self._close(client)

    def _write(self, client: Client) -> None:
        if not client.write():
            self._poller.modify(client.sock, _WRITABLE)
        elif client.left_at is not None:
            self._close(client)
        elif client.talk.may_go_on:
            client.enter(Phase.WAITING)
            self._poller.modify(client.sock, _READABLE)
            self._go_on(client)
        else:
            client.enter(Phase.DRAINING)
            self._poller.modify(client.sock, _READABLE)
            client.sock.shutdown(socket.SHUT_WR)

    def _go_on(self, client: Client) -> None:
        try:
            self._on_request(client, client.talk.go_on())
        except Refused as refused:
            self._refuse(client, refused)

    def _on_left(self, client: Client, events: int) -> None:
        """Note that a client has closed its side, or the whole connection, while its request is answered."""
        if events & _BROKEN:
            client.is_gone = True
            self._poller.unregister(client.sock)
        elif client.left_at is None:
            client.left_at = time.monotonic()
            self._poller.modify(client.sock, 0)

    def _excuse_clients(self, late_s: float) -> None:
        """If the loop is late, for example because the process was paused, move all time limits later by as much."""
        if late_s > _LATE_S:
            for client in self._clients.values():
                client.excuse(late_s)

    def _look_after_clients(self, now: float) -> None:
        for client in list(self._clients.values()):
            if client.ends_at <= now:
                self._cut_off(client)
            elif self._is_stopping and client.phase is Phase.WAITING and client.began_at + _LINGER_S <= now:
                self._close(client)
            elif client.phase is Phase.ANSWERING and client.left_at is not None and client.left_at + _ASK_S <= now:
                client.left_at = float("inf")  # asked once
                with suppress(OSError):
                    client.send_interim()

    def _cut_off(self, client: Client) -> None:
        if client.phase is Phase.READING:
            self._refuse(client, Refused(408, "The request came too slowly."))
        else:
            self._close(client)

    def _close(self, client: Client) -> None:
        """Close a connection. If its request is being answered now, the connection is closed after that."""
        if client.phase is Phase.ANSWERING and not client.is_gone:
            client.is_gone = True
            return
        self._hold(client, 0)
        if self._clients.pop(client.sock.fileno(), None) is not None:
            client.sock.close()
