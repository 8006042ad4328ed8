"""Every failure becomes one shape: application/problem+json (RFC 9457) with a stable `code`.

WebError
├── BadRequest            400  not JSON, or a query parameter is wrong
├── Unauthenticated       401
├── NotFound              404  unknown, malformed or somebody else's: always the same text
├── UnsupportedMedia      415
├── Invalid               422  the body is JSON but not what is asked for
└── (models.errors and werkzeug's HTTP errors are mapped below)
"""

import logging
from http import HTTPStatus
from typing import Any, ClassVar

from flask import Flask, Response, current_app, g, has_request_context, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect
from werkzeug.routing.exceptions import WebsocketMismatch

from models import errors

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_S = "1"
#: Where the door for code editors is.
EDITORS = "/api/"
#: Where the application's configuration has the longest body, in bytes.
BODY_LIMIT = "MAX_BODY_BYTES"

log = logging.getLogger(__name__)


class WebError(Exception):
    """The request was refused."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, detail: str = "", fields: list[dict[str, Any]] | None = None) -> None:
        super().__init__(detail or (type(self).__doc__ or "").strip())
        self.fields = fields or []


class BadRequest(WebError):
    """The request can't be understood."""

    status = 400
    code = "bad_request"


class Unauthenticated(WebError):
    """Send a valid API key as `Authorization: Bearer <key>` or `X-API-Key: <key>`."""

    status = 401
    code = "unauthenticated"


class Forbidden(WebError):
    """This origin may not open a stream. Add it to UMBEL_ALLOWED_ORIGINS."""

    status = 403
    code = "origin_refused"


class OperationsOnly(WebError):
    """This concerns every account. Use a key made with `flask --app web keys create --operations`."""

    status = 403
    code = "operations_only"


class NotFound(WebError):
    """There is nothing here for this key. Check the id, the path and the account the key belongs to."""

    status = 404
    code = "not_found"


class UnsupportedMedia(WebError):
    """Send JSON with `Content-Type: application/json`."""

    status = 415
    code = "unsupported_media_type"


class Invalid(WebError):
    """The request is JSON but not what is asked for; see `errors`."""

    status = 422
    code = "invalid"


#: models.errors by what they mean over HTTP.
_STATUS: dict[type[errors.ModelError], int] = {
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.ProjectDrift: 409,
    errors.NotSteerable: 409,
    errors.KeyReused: 422,
    errors.Malformed: 422,
    errors.Unavailable: 503,
    errors.NoFreePlace: 503,
    errors.FileTooLarge: 413,
    errors.QuotaReached: 403,
    errors.TypeMismatch: 422,
    errors.StoreUnavailable: 503,
    errors.BlobGone: 503,
    errors.SecretsUnconfigured: 503,
    errors.SecretUnreadable: 503,
}
#: What of an error's details is answered beside its text.
_TOLD = frozenset({"state", "allowed", "project_id", "snapshot", "files"})
_HTTP_CODES = {
    405: "method_not_allowed",
    413: "body_too_large",
    426: "upgrade_required",
    408: "timeout",
    416: "range_not_satisfiable",
}


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    fields: list[dict[str, Any]] | None = None,
    retryable: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """Build a problem document; a stream that has outlived its request puts its own `request_id` in."""
    document = {
        "type": f"urn:umbel:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": retryable,
        "request_id": getattr(g, "request_id", None) if g else None,
    }
    return document | ({"errors": fields} if fields else {}) | more


def describe(error: Exception) -> dict[str, Any]:
    """Build the problem document for any of our own errors."""
    if isinstance(error, errors.NotFound):
        error = NotFound()
    if isinstance(error, WebError):
        return problem(error.status, error.code, str(error), fields=error.fields)
    if isinstance(error, errors.ModelError) and type(error) in _STATUS:
        detail = {name: value for name, value in error.detail.items() if name in _TOLD}
        return problem(_STATUS[type(error)], error.code, str(error), retryable=error.retryable, **detail)
    return problem(500, "internal", "Something broke on our side; it was logged under this request_id.", retryable=True)


def respond(document: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """Send a problem document; editors look for its text in `error`."""
    if has_request_context() and request.path.startswith(EDITORS):
        document |= {"error": document["detail"]}
    body = current_app.json.dumps(document)
    response = Response(body, document["status"], content_type=PROBLEM_TYPE)
    response.headers.update(headers or {})
    if document["status"] == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="umbel"'
    if document["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = RETRY_AFTER_S
    return response


def _own(error: Exception) -> Response:
    document = describe(error)
    if isinstance(error, ConnectionError):  # of the client: our own servers' errors have other types
        log.info("client went away", extra={"path": request.path, "reason": type(error).__name__})
    elif document["status"] == HTTPStatus.INTERNAL_SERVER_ERROR:
        about = {"request_id": document["request_id"], "path": request.path}
        log.error("request failed", exc_info=error, extra=about)
    return respond(document)


def _http(error: HTTPException) -> Response | HTTPException:
    if isinstance(error, RequestRedirect):
        return error
    if isinstance(error, WebsocketMismatch):
        detail = "This is a WebSocket; open it with ws:// or wss://."
        return respond(problem(426, "upgrade_required", detail), {"Upgrade": "websocket", "Connection": "Upgrade"})
    if error.code == HTTPStatus.NOT_FOUND:
        return _own(NotFound())
    status = error.code or 500
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return _own(error)
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Content-Range"}}
    code = _HTTP_CODES.get(status, "bad_request")
    return respond(problem(status, code, _detail(error, status)), headers)


def _detail(error: HTTPException, status: int) -> str:
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return f"The body is larger than {current_app.config[BODY_LIMIT]} bytes."
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not possible here; see the Allow header."
    return error.description or HTTPStatus(status).phrase


def _too_deep(_: RecursionError) -> Response:
    return _own(BadRequest("The JSON is nested too deeply."))


def init_app(app: Flask) -> None:
    """Answer every error of `app` with a problem document."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(RecursionError, _too_deep)
    app.register_error_handler(Exception, _own)
