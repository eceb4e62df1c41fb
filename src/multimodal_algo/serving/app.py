"""The HTTP interface of the server.

It imports only fast modules, so that the port answers before the models are loaded.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

from flask import Flask, Response, jsonify, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException

from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.serving.batching import Busy, ClientGone
from multimodal_algo.serving.decoding import Header, Kind, Reading
from multimodal_algo.serving.decoding.bounds import BodyTooLarge
from multimodal_algo.serving.decoding.packed import unpacked
from multimodal_algo.serving.front.gateway import IS_GONE
from multimodal_algo.serving.service import ModelService

_LOG = logging.getLogger(__name__)

# Some clients send this type by default.
_ANY = "application/octet-stream"
_ID = {"present": False, "absent": True, "auto": None}
_ANSWERED = tuple(kind for kind in Kind if kind is not Kind.PARQUET)


def create_app(service: ModelService, execution_parameters: Callable[[], dict[str, int]], max_body_bytes: int) -> Flask:
    """Return the Flask application that answers the platform's three paths.

    Parameters
    ----------
    service
        The service that answers the bodies of ``/invocations``.
    execution_parameters
        Returns the answer to ``/execution-parameters``.
    max_body_bytes
        Size in bytes of the largest request body that is read.
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
        body = unpacked(request.stream.read(), request.headers.get("Content-Encoding", ""), max_body_bytes)
        if not body:
            return Response(b"", mimetype=accepted.value[0])
        reading = Reading(given.get("charset", "utf-8"), Header(header), _ID[lines_id])
        answers = service.answer(body, kind, accepted, reading, request.environ.get(IS_GONE, _nobody_leaves))
        return Response(answers, mimetype=accepted.value[0])

    @app.errorhandler(UserError)
    def user_error(error: UserError) -> Response:
        _LOG.warning("request refused: %s", error)
        return _refused(400, str(error))

    @app.errorhandler(BodyTooLarge)
    def too_large(error: BodyTooLarge) -> Response:
        _LOG.warning("request refused: %s", error)
        return _refused(413, str(error))

    @app.errorhandler(Busy)
    def busy(error: Busy) -> Response:
        return _refused(503, str(error))

    @app.errorhandler(ClientGone)
    def client_gone(_: ClientGone) -> Response:
        return _refused(503, "The client has left.")  # nobody reads it

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


def _nobody_leaves() -> bool:
    return False


def _kind(mimetype: str) -> Kind | None:
    if mimetype in ("", _ANY, "*/*"):
        return Kind.CSV
    return next((kind for kind in Kind if mimetype in kind.value), None)


def _accepted(accept: MIMEAccept, kind: Kind) -> Kind | None:
    """Return the format of the answers.

    If the client accepts any format, answers have the format of the request body (`kind`).

    Return None if the client accepts no format that is possible here. Parameters of the accepted types, for example a
    character set, do not matter.
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
