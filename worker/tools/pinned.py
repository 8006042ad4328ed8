"""aiohttp kept to the addresses a guard lets through."""

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from worker.tools.egress import Guard


class PinnedResolver(AbstractResolver):
    """Gives aiohttp the addresses the guard let through, and no others."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve for one connection."""
        found = await self._guard.addresses(host, port, family)
        return [_entry(host, each, port) for each in found]

    async def close(self) -> None:
        """Nothing is held."""


def _entry(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


def connector(guard: Guard) -> aiohttp.TCPConnector:
    """Make a connector that connects only where the guard allows; it keeps no names and no connections."""
    return aiohttp.TCPConnector(resolver=PinnedResolver(guard), use_dns_cache=False, force_close=True, limit=0)
