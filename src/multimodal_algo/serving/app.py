"""The HTTP interface. It imports nothing that takes long, so the port answers before the models are loaded."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable

from flask import Flask, Response, jsonify, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, RequestTimeout

from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.serving.batching import Busy
from multimodal_algo.serving.decoding import Header, Kind, Reading
from multimodal_algo.serving.decoding.packed import BodyTooLarge, unpacked
from multimodal_algo.serving.service import ModelService

_LOG = logging.getLogger(__name__)

# Some clients send this type by default.
_ANY = "application/octet-stream"
_ID = {"present": False, "absent": True, "auto": None}
_ANSWERED = tuple(kind for kind in Kind if kind is not Kind.PARQUET)
_READ_BYTES = 1 << 20
# A client that needs more than 60 s for its body, and sends it slower than this rate, is cut off.
_BODY_S, _BYTES_PER_S = 60, 100_000


def create_app(service: ModelService, execution_parameters: Callable[[], dict[str, int]], max_body_bytes: int) -> Flask:
    """Return the Flask application.

    Parameters
    ----------
    service
        The service that answers bodies.
    execution_parameters
        Function that returns the answer to ``/execution-parameters``.
    max_body_bytes
        Size of the largest body that is read, in bytes.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes

    @app.get("/ping")
    def ping() -> Response:
        # Also 200, with an empty body, while the model loads, because invocations wait for it.
        return Response(status=500 if service.failure else 200)

    @app.get("/execution-parameters")
    def parameters() -> Response:
        return jsonify(execution_parameters())

    @app.post("/invocations")
    def invocations() -> Response:
        kind = _kind(request.mimetype)
        if kind is None:
            known = ", ".join(known.value[0] for known in Kind)
            return _refused(415, f"The content type '{request.mimetype[:80]}' is not supported: send one of {known}.")
        accepted = _accepted(request.accept_mimetypes, kind)
        if accepted is None:
            wanted = request.headers.get("Accept", "")[:80]
            possible = ", ".join(kind.value[0] for kind in _ANSWERED)
            return _refused(406, f"None of the accepted types ({wanted}) can be answered: accept {possible}.")
        given = request.mimetype_params
        header, lines_id = (given.get(name, "auto").strip("\"' ").lower() for name in ("header", "id"))
        for name, value, values in (("header", header, [member.value for member in Header]), ("id", lines_id, _ID)):
            if value not in values:
                return _refused(415, f"The content type says {name}={value[:20]}. Use present or absent.")
        body = _body(max_body_bytes)
        if not body:
            return Response(b"", mimetype=accepted.value[0])
        reading = Reading(given.get("charset", "utf-8"), Header(header), _ID[lines_id])
        answers = service.answer(body, kind, accepted, reading)
        return Response(answers, mimetype=accepted.value[0])

    @app.errorhandler(UserError)
    def user_error(error: UserError) -> Response:
        _LOG.warning("request refused: %s", error)
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
        return _refused(500, f"An internal error occurred. The log has it under request {request_id}.")

    return app


def _body(most_bytes: int) -> bytes:
    """Return the unpacked body of the request.

    Raises
    ------
    RequestTimeout
        The client sends it too slowly.
    RequestEntityTooLarge
        It is larger than `most_bytes` once unpacked.
    UserError
        It cannot be unpacked.
    """
    started = time.monotonic()
    parts: list[bytes] = []
    size = 0
    while part := request.stream.read(_READ_BYTES):
        parts.append(part)
        size += len(part)
        if time.monotonic() - started > _BODY_S + size / _BYTES_PER_S:
            raise RequestTimeout("The body came too slowly.")
    try:
        return unpacked(b"".join(parts), request.headers.get("Content-Encoding", ""), most_bytes)
    except BodyTooLarge as error:
        raise RequestEntityTooLarge(str(error)) from None


def _kind(mimetype: str) -> Kind | None:
    if mimetype in ("", _ANY, "*/*"):
        return Kind.CSV
    return next((kind for kind in Kind if mimetype in kind.value), None)


def _accepted(accept: MIMEAccept, kind: Kind) -> Kind | None:
    """Return the format of the answers to a body of `kind`: its own kind where the client accepts any.

    Parameters of the accepted types, for example a character set, do not matter.
    """
    default = Kind.CSV if kind is Kind.PARQUET else kind
    plain = MIMEAccept([(name.split(";")[0].strip().lower(), quality) for name, quality in accept])
    if not plain or any(name == _ANY and quality for name, quality in plain):
        return default
    # Of several types that the client accepts equally, the first of these names wins.
    names = [*default.value, *(name for other in _ANSWERED if other is not default for name in other.value)]
    best = plain.best_match(names)
    return None if best is None else _kind(best)


def _refused(status: int, message: str) -> Response:
    response = jsonify({"error": message})
    response.status_code = status
    return response
