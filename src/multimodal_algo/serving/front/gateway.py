"""The gateway that passes requests to a WSGI application (PEP 3333), such as Flask."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from multimodal_algo.serving.front.conversation import HttpAnswer, HttpRequest

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
IsGone = Callable[[], bool]
"""Function that returns whether the client has left, and nobody waits for the answer."""

IS_GONE = "multimodal_algo.is_gone"
"""Key of an `IsGone` in the environment of WSGI."""


def call(application: Application, request: HttpRequest, is_gone: IsGone) -> HttpAnswer:
    """Return the answer of a WSGI application to a request.

    The application gets `is_gone`, to ask if the client has left.
    """
    begun: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
        begun.append((status, headers))

    parts = application(_environment(request) | {IS_GONE: is_gone}, start_response)
    try:
        body = b"".join(parts)
    finally:
        if close := getattr(parts, "close", None):
            close()
    status, headers = begun[-1]
    kept = [(name, value) for name, value in headers if name.lower() not in ("content-length", "connection")]
    return HttpAnswer(int(status.split()[0]), kept, body)


def path_of(target: str) -> str:
    """Return the path of a request's target. The target may be a whole URL."""
    if target.startswith(("http://", "https://")):
        target = "/" + target.partition("://")[2].partition("/")[2]
    return target.partition("?")[0]


def _environment(request: HttpRequest) -> dict[str, Any]:
    environment = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path_of(request.target)).decode("latin-1"),
        "QUERY_STRING": request.target.partition("?")[2],
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in request.headers:
        if "_" in name:  # it would be mistaken for a name with a hyphen
            continue
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        environment[key] = f"{environment[key]},{value}" if key in environment else value
    # The body was read, so it has this length also where it came in chunks.
    environment["CONTENT_LENGTH"] = str(len(request.body))
    environment.pop("HTTP_TRANSFER_ENCODING", None)
    return environment
