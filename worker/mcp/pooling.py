"""All connections of a process to MCP servers, as the file of servers has them at the moment."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models.tasks import Effect
from worker.mcp import errors
from worker.mcp.answers import Answer
from worker.mcp.calls import LONGEST_S, OnProgress, Request, Resumed
from worker.mcp.config import Server
from worker.mcp.connection import Connection, State, Vet
from worker.mcp.ending import answered, questions
from worker.mcp.listing import Listed
from worker.mcp.pacing import Pace
from worker.mcp.pins import MemoryPins, Pins
from worker.mcp.tool import McpArguments, McpTool, model_names
from worker.tools.base import ToolCall, ToolResult
from worker.tools.checking import Checker

#: How often, in seconds of use, the files are looked at.
LOOK_EVERY_S = 2.0
#: Connections of sessions to one stateful server, and seconds after which an idle one is closed.
SESSIONS = 32
SESSION_IDLE_S = 600.0

Source = Callable[[], Awaitable[Mapping[str, Server]]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """How a connection is: server, where it is, state, protocol version, tools, calls under way, and why it is away."""

    server: str
    where: str
    state: State
    protocol: str
    tools: int
    load: int
    why: str


class Pool:
    """The connections of one event loop. Servers are connected to when they are first used."""

    def __init__(self, source: Source, pins: Pins | None = None) -> None:
        self._source = source
        self._pins = pins or MemoryPins()
        self._pinned: Mapping[str, str] = {}
        self._servers: Mapping[str, Server] = {}
        self._looked = float("-inf")
        self._looking = asyncio.Lock()
        self._complained = ""
        self._connections: dict[tuple[str, str], list[Connection]] = {}
        self._paces: dict[str, Pace] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def tools(self, names: Iterable[str] | None = None, *, session: str = "") -> list[McpTool]:
        """Return tools in order of the names models call them by.

        Args:
            names: `server.tool`, or `server` or `server.*` for all of a server; None for all there are.
            session: whose calls share a connection to a stateful server; a task's run, for instance.

        Raises:
            ServersRefused: the file of servers can't be used.
            UnknownTool: there is no such server or tool.
            ToolChanged: a tool asked for by its own name is no longer what was approved.
            Unavailable: a server can't be reached.
        """
        await self._look()
        wanted: dict[str, set[str]] = {}
        for name in self._servers if names is None else names:
            server, _, tool = name.partition(".")
            wanted.setdefault(server, set()).add(tool or "*")
        each = [self._tools_of(self._server(name), tools, session) for name, tools in wanted.items()]
        found = [tool for tools in await asyncio.gather(*each) for tool in tools]
        called = model_names((server.name, listed.name) for server, listed in found)
        made = [
            self.bound(server.name, listed, called[server.name, listed.name], server.effect_of(listed.name), session)
            for server, listed in found
        ]
        return sorted(made, key=lambda tool: tool.name)

    async def _tools_of(self, server: Server, wanted: set[str], session: str) -> list[tuple[Server, Listed]]:
        listing = await self._listing(server, session)
        chosen: list[tuple[Server, Listed]] = []
        for name in sorted(set(_allowed(server, listing)) | (wanted - {"*"})):
            if name not in wanted and "*" not in wanted:
                continue
            try:
                chosen.append((server, await self._vetted(server, name, listing)))
            except errors.ToolChanged:
                if name in wanted:
                    raise
                log.warning("an mcp tool has changed and is left out", extra={"server": server.name, "tool": name})
        return chosen

    async def _listing(self, server: Server, session: str) -> dict[str, Listed]:
        connection = self._choose(server, session)
        try:
            async with asyncio.timeout(server.timeout_s):
                return await connection.ready()
        except TimeoutError:
            reason = f" ({connection.why})" if connection.why else ""
            message = f"the MCP server {server.name} can't be reached: not within {server.timeout_s:g} s{reason}"
            raise errors.Unavailable(message) from None

    def bound(self, server: str, listed: Listed, name: str, effect: Effect, session: str = "") -> McpTool:
        """Return a tool as it was once listed; whether it is still that is looked at when it is called."""

        async def run(args: McpArguments, call: ToolCall) -> ToolResult:
            key = call.idempotency_key
            said = Resumed(call.answers.responses, call.answers.state) if call.answers else None
            answer = await self.call(server, listed.name, args.root, idempotency_key=key, session=session, resumed=said)
            return answer.as_result()

        return McpTool(
            name=name,
            description=listed.description or f"{listed.name} of {server}",
            arguments=McpArguments,
            effect=effect,
            run=run,
            server=server,
            remote=listed.name,
            listed=listed,
            checker=Checker(listed.schema),
        )

    async def call(
        self,
        server: str,
        tool: str,
        args: dict[str, Any],
        *,
        idempotency_key: str,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
        session: str = "",
        resumed: Resumed | None = None,
    ) -> Answer:
        """Call a tool and return its answer.

        Args:
            server: name of the server.
            tool: name of the tool, as the server knows it.
            args: its arguments.
            idempotency_key: sent along in `_meta`; the same on every try of the same call.
            timeout_s: time limit in seconds, by default the server's; each report of progress grants as much again.
            on_progress: awaited with (progress, total, message) whenever the server reports progress.
            session: whose calls share a connection to a stateful server.
            resumed: answers to what the server asked when the same call raised `InputRequired`.

        Raises:
            McpError: it failed; `ambiguous` says whether the server may have carried it out all the same.
        """
        await self._look()
        there = self._server(server)
        request = Request(server, tool, args, idempotency_key, timeout_s or there.timeout_s, on_progress, resumed)
        with questions(request, there):
            given = await self._choose(there, session).call(request, self._vet(there, tool))
            return answered(request, given, there.secrets)

    def _vet(self, server: Server, tool: str) -> Vet:
        async def vet(listing: dict[str, Listed]) -> None:
            await self._vetted(server, tool, listing)

        return vet

    async def _vetted(self, server: Server, tool: str, listing: dict[str, Listed]) -> Listed:
        """Return the tool if it may be used; a server's tools are approved as they are when they are first seen."""
        allowed = _allowed(server, listing)
        if tool not in allowed:
            there = ", ".join(sorted(allowed)) or "none"
            raise errors.UnknownTool(f"there is no tool {server.name}.{tool}; of {server.name} there are: {there}")
        name = f"{server.name}.{tool}"
        if name not in self._pinned:
            self._pinned = await self._pins.approve({f"{server.name}.{each}": allowed[each].hash for each in allowed})
        if self._pinned[name] != allowed[tool].hash:
            cure = f"look at it and {self._pins.cure(name)}"
            raise errors.ToolChanged(f"{name} is no longer the tool that was approved; {cure}")
        return allowed[tool]

    def _server(self, name: str) -> Server:
        if name not in self._servers:
            there = ", ".join(sorted(self._servers)) or "none"
            raise errors.UnknownTool(f"there is no MCP server {name}; there are: {there}")
        return self._servers[name]

    def _choose(self, server: Server, session: str) -> Connection:
        """Return the connection that will soonest take a call."""
        if self._closed:
            raise errors.Unavailable("this worker is shutting down")
        key = (server.name, session if server.stateful else "")
        if key not in self._connections and sum(name == server.name for name, _ in self._connections) >= SESSIONS:
            raise errors.Unavailable(f"{server.name} has {SESSIONS} sessions already; try again later")
        connections = self._connections.setdefault(key, [])
        if len(connections) < server.connections and all(each.load for each in connections):
            pace = self._paces.setdefault(server.name, Pace())
            connections.append(Connection(server, pace))
        return min(connections, key=lambda each: (each.state is not State.READY, each.load))

    # The file

    async def _look(self) -> None:
        """Take over what has changed in the files, if it is time to look."""
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        if self._looking.locked() and self._servers:
            return
        async with self._looking:
            if time.monotonic() - self._looked < LOOK_EVERY_S:
                return
            try:
                self._apply(await self._source())
                self._pinned = await self._pins.load()
            except errors.ServersRefused as error:
                self._complain(error)
            self._looked = time.monotonic()
            self._close_idle()

    def _complain(self, error: errors.ServersRefused) -> None:
        # What worked goes on working: half a file is never applied.
        if not self._servers:
            raise error
        if str(error) != self._complained:
            log.error("the mcp servers stay as they were", extra={"reason": str(error)})
        self._complained = str(error)

    def _apply(self, servers: Mapping[str, Server]) -> None:
        gone = {name for name, server in self._servers.items() if servers.get(name) != server}
        for key in [key for key in self._connections if key[0] in gone]:
            self._retire(key)
        for name in gone:
            self._paces.pop(name, None)
        self._servers, self._complained = dict(servers), ""

    def _close_idle(self) -> None:
        for key, connections in list(self._connections.items()):
            if key[1] and all(each.idle_s > SESSION_IDLE_S for each in connections):
                self._retire(key)

    def _retire(self, key: tuple[str, str]) -> None:
        for connection in self._connections.pop(key):
            task = asyncio.create_task(connection.close(drain_s=LONGEST_S))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def names(self) -> frozenset[str]:
        """Return the names of the servers there are. Raises ServersRefused."""
        await self._look()
        return frozenset(self._servers)

    def rest(self) -> None:
        """Close every connection that has had no call for a while."""
        for key, connections in list(self._connections.items()):
            if all(each.idle_s > SESSION_IDLE_S for each in connections):
                self._retire(key)

    def end_session(self, session: str) -> None:
        """Close the connections a session has to stateful servers, once their calls have ended."""
        for key in [key for key in self._connections if key[1] == session and session]:
            self._retire(key)

    def health(self) -> list[Health]:
        """Return how each connection is."""
        return [_health(each) for connections in self._connections.values() for each in connections]

    async def close(self) -> None:
        """Close all connections and stop all servers started; calls under way end with an error."""
        self._closed = True
        for task in self._closing:
            task.cancel()
        connections = [each for some in self._connections.values() for each in some]
        self._connections.clear()
        await asyncio.gather(*(each.close() for each in connections), *self._closing, return_exceptions=True)


def _health(each: Connection) -> Health:
    tools = len(each.session.tools)
    return Health(each.server.name, each.server.where, each.state, each.session.protocol, tools, each.load, each.why)


def _allowed(server: Server, listing: dict[str, Listed]) -> dict[str, Listed]:
    if server.tools is None:
        return listing
    return {name: listed for name, listed in listing.items() if name in server.tools}
