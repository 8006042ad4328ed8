"""Servers reached over streamable HTTP: the library's transport, on a client of ours that keeps one call's trouble
from becoming everybody's.

With a plain client, one refused connection ends the transport and with it every call under way. Here it becomes the
answer of the call that met it. Bodies are bounded, and nothing is taken from the environment.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ErrorData

from worker.mcp.config import Server
from worker.mcp.wire import MESSAGE_MAX, Fault, fault_error
from worker.walled import AddressRefused, Wall, pinned

#: Seconds to connect, to write and to wait for one of the sockets; a call's own limit covers the reading.
CONNECT_S = 10.0
#: Sockets to one server; a call under way needs one, and so does listening for changes.
SOCKETS = 128
#: Seconds an unused socket is kept. Common servers close theirs after 5: a request sent just then is lost.
KEEP_S = 2.0
_REFUSED = {
    401: "the server does not accept our credentials (HTTP 401); check its `headers`",
    403: "the server does not let our credentials in (HTTP 403); check its `headers`",
    407: "a proxy asks for credentials (HTTP 407)",
    429: "the server is asked too often (HTTP 429)",
    503: "the server is not ready (HTTP 503)",
}


@asynccontextmanager
async def streamable(server: Server) -> AsyncGenerator[Any, None]:
    """Give the streams of a server reached over HTTP."""
    assert server.url is not None
    limits = httpx2.Limits(max_connections=SOCKETS, max_keepalive_connections=SOCKETS, keepalive_expiry=KEEP_S)
    client = httpx2.AsyncClient(
        headers=dict(server.headers),
        timeout=httpx2.Timeout(CONNECT_S, read=None),
        transport=_Guarded(httpx2.AsyncHTTPTransport(limits=limits, trust_env=False), server.wall),
        trust_env=False,
    )
    async with (
        client,
        streamable_http_client(server.url, http_client=client, max_sse_event_size=MESSAGE_MAX) as streams,
    ):
        yield streams


class _Guarded(httpx2.AsyncBaseTransport):
    """Turns failures of POSTs into answers that say what happened to the request."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, wall: Wall | None) -> None:
        self._inner = inner
        self._pin = pinned(wall) if wall else None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        if request.method != "POST":
            return await self._send(request)
        try:
            response = await self._send(request)
        except AddressRefused as error:
            return _answer(503, fault_error(Fault.REFUSED, f"the address is not allowed: {error}"))
        except (httpx2.ConnectError, httpx2.UnsupportedProtocol) as error:
            return _answer(503, fault_error(Fault.REFUSED, f"no connection ({type(error).__name__})"))
        except (httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            return _answer(503, fault_error(Fault.BUSY, f"no connection in time ({type(error).__name__})"))
        except httpx2.TransportError as error:
            return _answer(503, fault_error(Fault.CUT, f"no answer ({type(error).__name__})"))
        return await _judged(response)

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        if self._pin is not None:
            await self._pin(request)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all sockets."""
        await self._inner.aclose()


async def _judged(response: httpx2.Response) -> httpx2.Response:
    status = response.status_code
    is_json = response.headers.get("content-type", "").lower().startswith("application/json")
    if status in _REFUSED or (status >= 500 and not is_json):
        await response.aclose()
        fault, message = Fault.CUT, f"the server or something before it failed (HTTP {status})"
        if status in _REFUSED:
            fault, message = Fault.STATUS, _REFUSED[status]
        return _answer(status, fault_error(fault, message))
    # Events are bounded by the library; other bodies are not.
    if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream)
    return response


def _answer(status: int, error: ErrorData) -> httpx2.Response:
    body = {"jsonrpc": "2.0", "id": None, "error": error.model_dump(mode="json", exclude_none=True)}
    return httpx2.Response(status, headers={"content-type": "application/json"}, content=json.dumps(body).encode())


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with a `StreamError` if it is too long or cut off: the library keeps that to the one call."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._inner:
                size += len(chunk)
                if size > MESSAGE_MAX:
                    raise httpx2.StreamError(Fault.TOO_LARGE.value)
                yield chunk
        except httpx2.TransportError as error:
            raise httpx2.StreamError(Fault.CUT.value) from error

    async def aclose(self) -> None:
        """Close the body."""
        await self._inner.aclose()
