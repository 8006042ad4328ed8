"""A connection to one server that is there, or on its way back.

One task owns it: it opens it, keeps it, opens it again and closes it. The library's connections are bound to the task
that opened them; shared, they would end with whoever happened to be first. Callers only wait: cancelled or out of
time, they abandon their own call and nothing else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum

import anyio

from worker.mcp import errors
from worker.mcp.calls import Given, NotTaken, Request
from worker.mcp.config import Server
from worker.mcp.listing import Listed
from worker.mcp.pacing import Pace
from worker.mcp.session import Session

#: A connection that ends within so many seconds without any answer counts as one that failed to open.
LASTING_S = 5.0
#: Calls under way on one connection; further ones wait.
IN_FLIGHT = 64
#: How often a call is sent if the server did certainly not take it.
TRIES = 3

Vet = Callable[[dict[str, Listed]], Awaitable[None]]

log = logging.getLogger(__name__)


class State(StrEnum):
    """What a connection is doing."""

    CONNECTING = "connecting"
    READY = "ready"
    BROKEN = "broken"
    CLOSED = "closed"


class Connection:
    """A connection as its users know it.

    Attributes:
        server: what it connects to.
        session: the present attempt, or what came of it.
    """

    def __init__(self, server: Server, pace: Pace) -> None:
        self.server = server
        self.session = Session(server, self._changed, pace.succeeded)
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._change = asyncio.Event()
        self._asked = asyncio.Event()
        self._opening = self._stopping = False
        self._pausing = anyio.CancelScope()
        self._callers = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._used = self._loop.time()
        self._why = ""
        self._owner = asyncio.create_task(self._own(), name=f"mcp connection {server.name}")

    @property
    def state(self) -> State:
        """What it is doing."""
        if self._owner.done() or self._stopping:
            return State.CLOSED
        if self.session.client is not None:
            return State.READY
        return State.CONNECTING if self._opening and not self.session.why else State.BROKEN

    @property
    def why(self) -> str:
        """Why it is not there."""
        return "" if self.session.client is not None else self.session.why or self._why

    @property
    def load(self) -> int:
        """Calls under way or waiting for their turn."""
        return self._callers

    @property
    def idle_s(self) -> float:
        """Seconds since the last call ended; 0 during one."""
        return 0.0 if self._callers else self._loop.time() - self._used

    async def call(self, request: Request, vet: Vet) -> Given:
        """Send a call and wait for its answer.

        Args:
            request: the call.
            vet: looks at the tools as they are when the call is about to be sent, and raises to stop it.

        Raises:
            McpError: whatever went wrong; `ambiguous` says whether the server may have carried it out.
        """
        self._callers += 1
        self._quiet.clear()
        try:
            async with asyncio.timeout(request.timeout_s) as request.limit, self._slots:
                return await self._persistent(request, vet)
        except TimeoutError:
            if request.sent:
                self.session.suspect()
                raise errors.TimedOut(f"{request.name} did not answer in time ({request.timeout_s:g} s)") from None
            raise self._unavailable(f"it did not take the call within {request.timeout_s:g} s") from None
        finally:
            self._used = self._loop.time()
            self._callers -= 1
            if not self._callers:
                self._quiet.set()

    async def _persistent(self, request: Request, vet: Vet) -> Given:
        for left in range(TRIES - 1, -1, -1):
            session = await self._ready()
            await vet(session.tools)
            if (client := session.client) is None:
                continue
            try:
                return await session.send(client, request)
            except NotTaken as error:
                request.sent = False
                if error.lost:
                    session.leave(str(error))
                if not left:
                    raise self._unavailable(str(error)) from None
        raise self._unavailable("it comes and goes")

    async def ready(self) -> dict[str, Listed]:
        """Wait until the connection is ready and return the server's tools.

        Raises:
            Unavailable: the server can't be reached for now.
        """
        return (await self._ready()).tools

    async def _ready(self) -> Session:
        self._asked.set()
        while self.session.client is None:
            if self.state is State.CLOSED:
                raise self._unavailable("its connection was closed")
            if self._pace.open and self._pace.wait_s() > 0:
                raise self._unavailable("it failed too often", self._pace.wait_s())
            await self._change.wait()
        return self.session

    def _unavailable(self, told: str, retry_after_s: float | None = None) -> errors.Unavailable:
        reason = f" ({self.why})" if self.why and self.why != told else ""
        later = f"; it is tried again in {retry_after_s:.0f} s" if retry_after_s else ""
        message = f"the MCP server {self.server.name} can't be reached: {told}{reason}{later}"
        return errors.Unavailable(message, retry_after_s=retry_after_s)

    async def close(self, drain_s: float = 0.0) -> None:
        """Close the connection, letting calls under way end first for at most `drain_s` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._quiet.wait()
        self._stopping = True
        self.session.leave("it was closed")
        self._pausing.cancel()
        await asyncio.wait([self._owner])

    # What the owner does

    async def _own(self) -> None:
        try:
            while not self._stopping:
                await self._pause()
                if not self._stopping:
                    await self._live()
        finally:
            self.session.client = None
            self._stopping = True
            self._changed()

    async def _pause(self) -> None:
        self._asked.clear()
        with anyio.CancelScope() as self._pausing:
            await asyncio.sleep(self._pace.wait_s())
            if self._pace.open:
                await self._asked.wait()

    async def _live(self) -> None:
        session = self.session = Session(self.server, self._changed, self._pace.succeeded)
        self._opening = True
        self._changed()
        await session.hold()
        self._opening = False
        if not self._stopping:
            if not session.proven and (not session.protocol or self._loop.time() - session.ready_at < LASTING_S):
                self._pace.failed()
            level = logging.INFO if session.why == self._why else logging.WARNING
            log.log(level, "an mcp server is away", extra={"server": self.server.name, "reason": session.why})
            self._why = session.why
        self._changed()

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
