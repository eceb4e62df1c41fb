"""The HTTP surface. It imports nothing heavy: the port answers before the models are loaded."""

from __future__ import annotations

import logging
import os
import uuid

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from multimodal_algo.errors import PlatformError, UserError
from multimodal_algo.serving.service import ModelService

_LOG = logging.getLogger(__name__)

# The platform's largest payload (API: MaxPayloadInMB) and some room for encoding.
MAX_BODY_BYTES = 101 * 1024 * 1024
_CSV = "text/csv"
_ANY = frozenset({"", "*/*", "text/*", "application/octet-stream"})


def create_app(service: ModelService) -> Flask:
    """The Flask application that answers with `service`."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES

    @app.get("/ping")
    def ping() -> Response:
        # 200 with an empty body while loading too: invocations wait for the model.
        return Response(status=500 if service.failure else 200)

    @app.get("/execution-parameters")
    def execution_parameters() -> Response:
        # No BatchStrategy: the SDK's local mode raises on the documented MULTI_RECORD, and it is the default.
        concurrent = min(4, os.cpu_count() or 1)
        return jsonify({"MaxConcurrentTransforms": concurrent, "MaxPayloadInMB": 6})

    @app.post("/invocations")
    def invocations() -> Response:
        body = request.get_data(cache=False)
        if not body:
            return Response(b"", mimetype=_CSV)
        content_type = _media_type(request.headers.get("Content-Type", ""))
        if content_type not in _ANY and content_type != _CSV:
            return _refused(415, f"The content type '{content_type}' is not supported: send {_CSV}.")
        accept = {_media_type(part) for part in request.headers.get("Accept", "").split(",")}
        if not accept & (_ANY | {_CSV}):
            return _refused(
                406, f"None of the accepted types ({', '.join(sorted(accept))}) can be answered: accept {_CSV}."
            )
        return Response(service.answer_csv(body), mimetype=_CSV)

    @app.errorhandler(UserError)
    def user_error(error: UserError) -> Response:
        _LOG.warning("refused: %s", error)
        return _refused(400, str(error))

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


def _refused(status: int, message: str) -> Response:
    response = jsonify({"error": message})
    response.status_code = status
    return response


def _media_type(header: str) -> str:
    return header.partition(";")[0].strip().lower()
