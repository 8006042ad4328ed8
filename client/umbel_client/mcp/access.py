"""Who may speak: a request without a good key goes no further. Whose tasks it may see, the API says at each call."""

import hashlib
import secrets
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from umbel_client.errors import UmbelError
from umbel_client.mcp.api import Api

#: Seconds a key is taken for good; each call of the API still shows it, so a revoked key does nothing meanwhile.
REMEMBERED_S = 30.0
REMEMBERED_MAX = 10_000


def bearer(header: str | None) -> str | None:
    """The key in an `Authorization` header."""
    scheme, _, key = (header or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


class Access:
    """Lets requests with a good key through to `app`, and those to the `open` paths."""

    def __init__(self, app: ASGIApp, api: Api, *, open: frozenset[str]) -> None:
        self._app = app
        self._api = api
        self._open = open
        self._secret = secrets.token_bytes(32)
        self._known: dict[bytes, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with a problem document."""
        if scope["type"] == "http" and scope["path"] not in self._open:
            refused = await self._refusal(bearer(Headers(scope=scope).get("authorization")))
            if refused is not None:
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _refusal(self, key: str | None) -> JSONResponse | None:
        if key is None:
            return _problem(401, "unauthenticated", "Send an API key of Umbel as `Authorization: Bearer <key>`.")
        place = hashlib.blake2b(key.encode(), key=self._secret, digest_size=32).digest()
        if self._known.get(place, 0) > time.monotonic():
            return None
        try:
            good = await self._api.accepts(key)
        except UmbelError as error:
            return _problem(503, error.code, str(error), retryable=True)
        if not good:
            return _problem(401, "unauthenticated", "Umbel does not know this API key, or no longer.")
        self._remember(place)
        return None

    def _remember(self, place: bytes) -> None:
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[place] = time.monotonic() + REMEMBERED_S


def _problem(status: int, code: str, detail: str, *, retryable: bool = False) -> JSONResponse:
    headers = {401: {"WWW-Authenticate": 'Bearer realm="umbel"'}, 503: {"Retry-After": "1"}}[status]
    said = {"code": code, "detail": detail, "retryable": retryable, "status": status}
    return JSONResponse(said, status, headers, media_type="application/problem+json")
