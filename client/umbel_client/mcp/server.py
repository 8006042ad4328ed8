"""The server, and how it is served over HTTP."""

from collections.abc import Sequence
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from umbel_client._version import __version__
from umbel_client.mcp.access import Access, bearer
from umbel_client.mcp.api import Api
from umbel_client.mcp.tools import Asked, KeyOf, Tools

PATH = "/mcp"
HEALTH = "/healthz"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
#: Seconds that calls under way have when the process is to end; waits go on no longer than this.
GRACE_S = 3
ABOUT = (
    "Umbel carries out tasks to the end, once, also when nobody waits for them. "
    "Submit a task, keep its id, wait for it."
)


async def serve_http(url: str, host: str, port: int, hosts: Sequence[str] = (), origins: Sequence[str] = ()) -> None:
    """Serve at `host`:`port` until a signal; see `http_app`."""
    config = uvicorn.Config(
        http_app(url, hosts, origins),
        host=host,
        port=port,
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    await uvicorn.Server(config).serve()


def http_app(url: str, hosts: Sequence[str] = (), origins: Sequence[str] = ()) -> ASGIApp:
    """The application for the server at `url`: MCP at `/mcp`, every request with a key of its own.

    Without sessions, so that any number of processes may serve behind one address. `hosts` are names it may be called
    by besides loopback's, `origins` the web pages that may use it.
    """
    api = Api(url)
    server = made(api, _shown_key)
    server.custom_route(HEALTH, ["GET"])(_alive)
    security = TransportSecuritySettings(
        allowed_hosts=[f"{host}:*" for host in LOOPBACK] + [name for host in hosts for name in (host, f"{host}:*")],
        allowed_origins=list(origins),
    )
    inner = server.streamable_http_app(streamable_http_path=PATH, stateless_http=True, transport_security=security)
    return _Closing(Access(inner, api, open=frozenset({HEALTH})), api)


def made(api: Api, key_of: KeyOf) -> MCPServer[Any]:
    """The server with all its tools; `key_of` tells whose key a call is made with."""
    server: MCPServer[Any] = MCPServer(
        "umbel", title="Umbel", instructions=ABOUT, version=__version__, log_level="WARNING", subscriptions=False
    )
    Tools(api, key_of).add_to(server)
    return server


def _shown_key(asked: Asked) -> str:
    return bearer((asked.headers or {}).get("authorization")) or ""


async def _alive(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


class _Closing:
    """Closes the connections to the API when the server ends."""

    def __init__(self, app: ASGIApp, api: Api) -> None:
        self._app = app
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        if scope["type"] == "lifespan":
            await self._api.close()
