"""Keeps an httpx2 client to the addresses a guard lets through: names are resolved here, once, and never again.

For addresses that accounts declare: whoever may name a host must not reach what stands beside the worker.
"""

import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

import httpx2
from yarl import URL


class Wall(Protocol):
    """Judges where may be connected to; `worker.tools.egress.Guard` is one."""

    def check(self, url: URL) -> None:
        """Raise unless the URL may be asked for."""

    async def addresses(self, host: str, port: int, family: socket.AddressFamily) -> list[str]:
        """Resolve a host; raise unless all its addresses may be connected to."""


class AddressRefused(httpx2.ConnectError):
    """The guard forbids the address; nothing was sent."""


def pinned(wall: Wall) -> Callable[[httpx2.Request], Awaitable[None]]:
    """Return a hook for requests: what it lets through goes to the address that was judged.

    The name stays in `Host` and in TLS, so certificates are checked as ever.
    """

    async def pin(request: httpx2.Request) -> None:
        url = request.url
        request.url = url.copy_with(host=await _judged(wall, URL(str(url))))
        if url.scheme == "https":
            request.extensions = {**request.extensions, "sni_hostname": url.host}

    return pin


async def _judged(wall: Wall, url: URL) -> str:
    try:
        wall.check(url)
        found = await wall.addresses(url.host or "", url.port or 0, socket.AF_UNSPEC)
    except socket.gaierror:
        raise httpx2.ConnectError(f"the host {url.host} is not known") from None
    except Exception as error:
        raise AddressRefused(str(error)) from None
    return found[0]
