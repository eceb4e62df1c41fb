"""The HTTP surface. It imports nothing heavy: the port answers before the models are loaded."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable

from flask import Flask, Response, jsonify, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException, RequestTimeout

from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.serving.batching import Busy
from multimodal_algo.serving.decoding import Header, Kind
from multimodal_algo.serving.service import ModelService

_LOG = logging.getLogger(__name__)

# Some clients send this where they know no better.
_ANY = "application/octet-stream"
_READ_BYTES = 1 << 20
# A client that needs longer for its body than this, and than this rate asks for, is cut off.
_BODY_S, _BYTES_PER_S = 60, 100_000


def create_app(service: ModelService, execution_parameters: Callable[[], dict[str, int]], most_bytes: int) -> Flask:
    """The Flask application.

    Parameters
    ----------
    service
        Answers.
    execution_parameters
        What ``/execution-parameters`` tells.
    most_bytes
        Of a body.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = most_bytes

    @app.get("/ping")
    def ping() -> Response:
        # 200 with an empty body while loading too: invocations wait for the model.
        return Response(status=500 if service.failure else 200)

    @app.get("/execution-parameters")
    def parameters() -> Response:
        return jsonify(execution_parameters())

    @app.post("/invocations")
    def invocations() -> Response:
        kind = _kind(request.mimetype)
        if kind is None:
            known = ", ".join(kind.value[0] for kind in Kind)
            return _refused(415, f"The content type '{request.mimetype[:80]}' is not supported: send one of {known}.")
        accepted = _accepted(request.accept_mimetypes, kind)
        if accepted is None:
            wanted = request.headers.get("Accept", "")[:80]
            return _refused(406, f"None of the accepted types ({wanted}) can be answered: accept {_answered()}.")
        header = request.mimetype_params.get("header", "auto").lower()
        if header not in [member.value for member in Header]:
            return _refused(415, f"The content type says header={header[:20]}: it may be present or absent.")
        body = _body()
        if not body:
            return Response(b"", mimetype=accepted.value[0])
        told = service.answer(
            body, kind, accepted, charset=request.mimetype_params.get("charset", "utf-8"), header=Header(header)
        )
        return Response(told, mimetype=accepted.value[0])

    @app.errorhandler(UserError)
    def user_error(error: UserError) -> Response:
        _LOG.warning("refused: %s", error)
        return _refused(400, str(error))

    @app.errorhandler(Busy)
    def busy(error: Busy) -> Response:
        return _refused(503, str(error))

    @app.errorhandler(PlatformError)
    def platform_error(error: PlatformError) -> Response:
        return _refused(500, str(error))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return _refused(error.code or 500, error.description or error.name)

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        request_id = uuid.uuid4().hex
        _LOG.error("request %s failed", request_id, exc_info=error)
        return _refused(500, f"An internal error occurred; the log has it under request {request_id}.")

    return app


def _body() -> bytes:
    started = time.monotonic()
    parts: list[bytes] = []
    size = 0
    while part := request.stream.read(_READ_BYTES):
        parts.append(part)
        size += len(part)
        if time.monotonic() - started > _BODY_S + size / _BYTES_PER_S:
            raise RequestTimeout("The body came too slowly.")
    return b"".join(parts)


def _kind(mimetype: str) -> Kind | None:
    if mimetype in ("", _ANY, "*/*"):
        return Kind.CSV
    return next((kind for kind in Kind if mimetype in kind.value), None)


def _accepted(accept: MIMEAccept, kind: Kind) -> Kind | None:
    """What to answer a body of `kind` as; its own kind where the client does not care."""
    prior = Kind.CSV if kind is Kind.PARQUET else kind
    if not accept or _ANY in accept.values():
        return prior
    others = [other for other in Kind if other not in (prior, Kind.PARQUET)]
    names = [name for other in (prior, *others) for name in other.value]
    best = accept.best_match(names)
    return None if best is None else _kind(best)


def _answered() -> str:
    return ", ".join(kind.value[0] for kind in Kind if kind is not Kind.PARQUET)


def _refused(status: int, message: str) -> Response:
    response = jsonify({"error": message})
    response.status_code = status
    return response
