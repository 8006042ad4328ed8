"""What every request gets: an id, safe headers, one log line and a measurement."""

import logging
import re
import time
from collections.abc import Callable, Iterable
from secrets import token_hex
from typing import Any, cast

from flask import Flask, Request, Response, g, request

from web import metrics

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_SAFE = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_API = [
    *_SAFE,
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
]
# Swagger's page carries its own script and styles inline.
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'"
)
_DOCS = [*_SAFE, ("Content-Security-Policy", _PAGE_POLICY)]
# Our own page carries nothing inline, and sends what is typed nowhere but by its script.
_OWN_POLICY = "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE = [*_SAFE, ("Content-Security-Policy", _OWN_POLICY)]

log = logging.getLogger("umbel.access")


def init_app(app: Flask) -> None:
    """Give every request of `app` an id, and every answer its headers."""
    app.before_request(_begin)
    app.after_request(_finish)
    app.wsgi_app = _with_safe_headers(app.wsgi_app)  # type: ignore[method-assign]


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _ID.fullmatch(given) else token_hex(16)
    g.began = time.perf_counter()


def _finish(response: Response) -> Response:
    # What the proxies stand for: finding it again for every attribute would cost more than all the rest here.
    asked: Request = cast(Any, request)._get_current_object()
    known = cast(Any, g)._get_current_object()
    response.headers["X-Request-Id"] = known.request_id
    _note(asked, known, response.status_code)
    return response


def _note(asked: Request, known: Any, status: int) -> None:
    seconds = time.perf_counter() - known.began
    route = asked.url_rule.rule if asked.url_rule else "(none)"
    websocket = asked.environ.get("HTTP_UPGRADE", "").lower() == "websocket"
    metrics.observe(asked.method, route, status, None if websocket else seconds)
    if log.isEnabledFor(logging.INFO):
        log.info(
            "request",
            extra={
                "request_id": known.request_id,
                "method": asked.method,
                "path": asked.path,
                "route": route,
                "status": status,
                "duration_ms": round(seconds * 1000, 2),
                "account_id": str(known.scope.account_id) if "scope" in known else None,
                "remote": asked.remote_addr,
            },
        )


def _with_safe_headers(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Add the constant headers below Flask, where it costs next to nothing."""

    def call(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        constant = _API if path.startswith("/v1/") else _constant(path)

        def start_with_headers(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start(status, headers + constant, *rest)

        return application(environ, start_with_headers)

    return call


def _constant(path: str) -> list[tuple[str, str]]:
    if path.startswith("/docs"):
        return _DOCS
    return _PAGE if path == "/" or path.startswith("/page/") else _API
