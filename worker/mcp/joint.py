"""What the runs of one account see: the servers of its rows, and those of the file."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from models.tasks import Effect
from worker.mcp.errors import ServersRefused, UnknownTool
from worker.mcp.listing import Listed
from worker.mcp.pooling import Pool
from worker.mcp.tool import McpTool, model_names


class Joint:
    """Two pools as one. A server of the account goes before one of the file with the same name, usable or not."""

    def __init__(self, own: Pool, shared: Pool, names: frozenset[str], refused: Mapping[str, str]) -> None:
        self._own = own
        self._shared = shared
        self._names = names | frozenset(refused)
        self._refused = refused

    async def tools(self, names: Iterable[str], *, session: str = "") -> list[McpTool]:
        """Return tools in order of the names models call them by. Takes what `Pool.tools` does.

        Raises:
            ServersRefused: a server of the account can't be used; the message says why.
            McpError: what `Pool.tools` raises.
        """
        wanted = {True: [], False: []}  # type: dict[bool, list[str]]
        for name in names:
            server = name.partition(".")[0]
            if server in self._refused:
                raise ServersRefused(f"the MCP server {server} can't be used: {self._refused[server]}")
            wanted[server in self._names].append(name)
        await self._check({name.partition(".")[0] for name in wanted[False]})
        pools = ((self._own, wanted[True]), (self._shared, wanted[False]))
        each = await asyncio.gather(*(pool.tools(some, session=session) for pool, some in pools if some))
        found = [tool for tools in each for tool in tools]
        called = model_names((tool.server, tool.remote) for tool in found)
        return sorted((_named(tool, called[tool.server, tool.remote]) for tool in found), key=lambda tool: tool.name)

    async def _check(self, servers: set[str]) -> None:
        if not servers or not self._names:
            return
        there = self._names | await self._shared.names()
        if unknown := sorted(servers - there):
            raise UnknownTool(f"there is no MCP server {unknown[0]}; there are: {', '.join(sorted(there))}")

    def bound(self, server: str, listed: Listed, name: str, effect: Effect, session: str = "") -> McpTool:
        """Return a tool as it was once listed. See `Pool.bound`."""
        pool = self._own if server in self._names else self._shared
        return pool.bound(server, listed, name, effect, session)


def _named(tool: McpTool, name: str) -> McpTool:
    return tool if tool.name == name else replace(tool, name=name)
