"""The HTTP of one connection, apart from its socket: bytes become requests, and answers become bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

import h11

# Most bytes of a request's line and headers.
_MOST_HEADER_BYTES = 16_384
# Each chunk of a body costs time, however small it is. After this number of chunks they have this size on average.
_FREE_CHUNKS, _LEAST_CHUNK_BYTES = 100_000, 256

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class HttpRequest:
    """A completely received request.

    Parameters
    ----------
    method, target
        The words of the request's first line, for example ``POST`` and ``/invocations``.
    headers
        Pairs of a name in lower case and a value.
    body
        The body as it was sent, with its chunks joined.
    """

    method: str
    target: str
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class HttpAnswer:
    """The answer to a request.

    Parameters
    ----------
    status
        HTTP status code.
    headers
        Pairs of a name and a value. The length of the body is added later.
    body
        The body.
    """

    status: int
    headers: Headers
    body: bytes


class Refused(Exception):
    """Error: a request is refused before all of it has arrived. The connection ends after the answer.

    Parameters
    ----------
    status
        HTTP status code of the answer.
    message
        A sentence about what is wrong.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        body = json.dumps({"error": message}).encode() + b"\n"
        self.answer = HttpAnswer(status, (("content-type", "application/json"),), body)


class Conversation:
    """The state of the HTTP conversation on one connection: requests and answers, one after the other.

    Parameters
    ----------
    most_body_bytes
        Size in bytes of the largest request body that is read.
    """

    def __init__(self, most_body_bytes: int) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEADER_BYTES)
        self._most_body_bytes = most_body_bytes
        self._begin_request()

    def _begin_request(self) -> None:
        self._request: h11.Request | None = None
        self._body: list[bytes] = []
        self._chunks = 0
        self.body_bytes = 0

    @property
    def in_body(self) -> bool:
        """Whether a request's headers have arrived completely, and its body is still arriving."""
        return self._request is not None

    @property
    def may_go_on(self) -> bool:
        """Whether another request may follow on this connection after the present answer."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def receive(self, data: bytes) -> HttpRequest | None:
        """Take bytes from the client, or ``b""`` if it has closed its side. If they complete a request, return it.

        Raises
        ------
        Refused
            The request is malformed, too large, or cut off.
        """
        self._http.receive_data(data)
        return self._advance()

    def go_on(self) -> HttpRequest | None:
        """Begin the next request after an answer. Return it if all of it has arrived already."""
        self._http.start_next_cycle()
        self._begin_request()
        return self._advance()

    def continue_(self) -> bytes:
        """Return the bytes of an interim answer (100 Continue), which clients ignore.

        Empty if the client uses HTTP/1.0.
        """
        if self._http.their_http_version != b"1.1" or self._http.our_state is not h11.SEND_RESPONSE:
            return b""
        return self._http.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))

    @property
    def is_awaited(self) -> bool:
        """Whether the client waits for an interim answer (100 Continue) before it sends the body."""
        return self._http.they_are_waiting_for_100_continue

    def answer(self, answer: HttpAnswer, *, closes: bool) -> bytes:
        """Return the bytes of an answer. `closes` says that the connection ends after it."""
        headers = [*answer.headers, ("date", formatdate(usegmt=True)), ("content-length", str(len(answer.body)))]
        if closes:
            headers.append(("connection", "close"))
        reason = HTTPStatus(answer.status).phrase.encode()
        begin = self._http.send(h11.Response(status_code=answer.status, headers=headers, reason=reason))
        body = self._http.send(h11.Data(data=answer.body))
        return begin + body + self._http.send(h11.EndOfMessage())

    def _advance(self) -> HttpRequest | None:
        """Process all bytes that have arrived. If they complete a request, return it."""
        try:
            return self._next_request()
        except h11.RemoteProtocolError as error:
            # A client is wrong, also where the library proposes 501 for a transfer coding that nobody knows.
            status = error.error_status_hint if error.error_status_hint < 500 else 400
            reason = str(error)[:120]
            raise Refused(status, f"The request is not well-formed HTTP, or cut off ({reason}).") from None

    def _next_request(self) -> HttpRequest | None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._take_headers(event)
            elif isinstance(event, h11.Data):
                self._take_body(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return self._whole()
            else:
                return None

    def _take_headers(self, request: h11.Request) -> None:
        self._request = request
        if request.http_version not in (b"1.0", b"1.1"):
            raise Refused(400, "The version of HTTP is not supported. Send HTTP/1.1.")
        length = next((int(value) for name, value in request.headers if name == b"content-length"), 0)
        self._require_size(length)

    def _take_body(self, data: bytes) -> None:
        self._body.append(bytes(data))
        self.body_bytes += len(data)
        self._require_size(self.body_bytes)
        self._chunks += 1
        if self._chunks > _FREE_CHUNKS + self.body_bytes / _LEAST_CHUNK_BYTES:
            raise Refused(400, "The body comes in too many small chunks. Send several lines in a chunk.")

    def _require_size(self, size: int) -> None:
        if size > self._most_body_bytes:
            limit = f"{self._most_body_bytes:,} bytes"
            raise Refused(413, f"The body is larger than {limit}. Send fewer rows at a time.")

    def _whole(self) -> HttpRequest:
        request = self._request
        assert request is not None
        headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers]
        body, self._body = b"".join(self._body), []
        return HttpRequest(request.method.decode("ascii"), request.target.decode("ascii"), headers, body)
