"""One connected client: its socket, the state of its HTTP conversation, and the time that it may take."""

from __future__ import annotations

import socket
import time
from collections import deque
from enum import Enum

from multimodal_algo.serving.front.conversation import Conversation, HttpAnswer, HttpRequest

# Most bytes that are read at once: of headers, so that their limit holds, and of a body.
_READ_BYTES, _READ_BODY_BYTES = 16_384, 1 << 18
# A connection that has no request is kept for this time.
_KEPT_S = 75.0
# Headers must be whole after this time.
_HEADERS_S = 30.0
# A transfer of a body or an answer is cut off after this time without a byte. It is also cut off below this rate, once
# it has taken this time.
_IDLE_S, _TRANSFER_S, _BYTES_PER_S = 30.0, 60.0, 100_000
# A connection that ends is read for this time, because a reset would also remove the answer from the client's buffers.
_DRAINED_S = 5.0


class Phase(Enum):
    """The phases that a connection goes through."""

    WAITING = "waiting for a request"
    READING = "reading a request"
    ANSWERING = "a thread answers it"
    WRITING = "writing the answer"
    DRAINING = "ending"


class Client:
    """A connection to a client. Only the front's main thread uses it, except for `is_gone`, which any thread reads.

    Parameters
    ----------
    sock
        Socket in non-blocking mode.
    most_body_bytes
        Size in bytes of the largest request body that is read.

    Attributes
    ----------
    is_gone
        Whether the client has left. Nobody waits for its answer.
    left_at
        Time at which the client closed its side of the connection. It may still wait for the answer.
    """

    def __init__(self, sock: socket.socket, most_body_bytes: int) -> None:
        self.sock = sock
        self.talk = Conversation(most_body_bytes)
        self.is_gone = False
        self.left_at: float | None = None
        self.held_bytes = 0
        self._out: deque[memoryview] = deque()
        self.enter(Phase.WAITING)

    def enter(self, phase: Phase) -> None:
        """Begin a new phase of the connection. Its time limits start now."""
        self.phase = phase
        self.began_at = self._moved_at = time.monotonic()
        self._moved_bytes = 0

    def excuse(self, seconds: float) -> None:
        """Move the time limits later by these seconds, in which this process did not run and could not read."""
        self.began_at += seconds
        self._moved_at += seconds

    @property
    def ends_at(self) -> float:
        """Time at which the client has taken too long. There is no limit while its request is being answered."""
        if self.phase is Phase.WAITING:
            return self.began_at + _KEPT_S
        if self.phase is Phase.ANSWERING:
            return float("inf")
        if self.phase is Phase.DRAINING:
            return self.began_at + _DRAINED_S
        if self.phase is Phase.READING and not self.talk.in_body:
            return self.began_at + _HEADERS_S
        return min(self._moved_at + _IDLE_S, self.began_at + _TRANSFER_S + self._moved_bytes / _BYTES_PER_S)

    def read(self) -> HttpRequest | None:
        """Read some bytes from the socket. If they complete a request, return it.

        Raises
        ------
        Refused
            See `Conversation.receive`.
        OSError
            The connection is broken.
        """
        data = self._received()
        if data is None:
            return None
        if data and self.phase is Phase.WAITING:
            self.enter(Phase.READING)
        self._moved(len(data))
        if not data:
            self.left_at = time.monotonic()
        return self.talk.receive(data)

    def discard(self) -> bool:
        """Read bytes and ignore them. Return False when the client has closed the connection."""
        return self._received() != b""

    def write(self) -> bool:
        """Write as much of the queued answer as the client accepts now. Return whether all of it is written.

        Raises
        ------
        OSError
            The connection is broken.
        """
        while self._out:
            try:
                sent = self.sock.send(self._out[0])
            except BlockingIOError:
                return False
            self._moved(sent)
            rest = self._out.popleft()[sent:]
            if rest:
                self._out.appendleft(rest)
        return True

    def answer(self, answer: HttpAnswer, *, closes: bool) -> None:
        """Queue an answer, which `write` then sends. `closes` says that the connection ends after it."""
        self._out.append(memoryview(self.talk.answer(answer, closes=closes)))
        self.enter(Phase.WRITING)

    def send_interim(self) -> None:
        """Send an interim answer (100 Continue), see `Conversation.continue_`.

        If the client has left, its operating system replies with a reset, which shows that nobody waits.
        """
        if interim := self.talk.continue_():
            self.sock.send(interim)

    def _received(self) -> bytes | None:
        """Return bytes from the client, or ``b""`` if it has closed its side. Return None if there are no bytes now."""
        try:
            return self.sock.recv(_READ_BODY_BYTES if self.talk.in_body else _READ_BYTES)
        except BlockingIOError:
            return None

    def _moved(self, size: int) -> None:
        self._moved_at = time.monotonic()
        self._moved_bytes += size
