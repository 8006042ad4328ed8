"""One opened connection to a server, from the moment it is opened until it has ended.

Only the task that runs `hold` opens and closes it; others send calls, and say when they have doubts about it.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import anyio
from mcp import Client
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types import (
    HEADER_MISMATCH,
    METHOD_NOT_FOUND,
    ElicitRequestParams,
    ElicitResult,
    Implementation,
    ToolListChangedNotification,
)

from worker.mcp.calls import NOT_NOW, Given, NotTaken, Request, Running, explained
from worker.mcp.config import Server
from worker.mcp.http import streamable
from worker.mcp.listing import Listed, listed
from worker.mcp.stdio import stdio
from worker.tools.redact import redact

#: Seconds to start a server and learn its tools; the first start by a package runner downloads it.
OPEN_S = 60.0
CLOSE_S = 5.0
#: Seconds of silence after which a connection is tried out, and seconds that may take.
HEALTH_S = 30.0
CHECK_S = 10.0
#: Seconds after which listening for changes is begun again once it ended.
LISTEN_AGAIN_S = 5.0

log = logging.getLogger(__name__)


class Session:
    """An attempt to connect, and what comes of it.

    Attributes:
        client: the library's client while calls can be sent, else None.
        tools: the server's tools by name, as it listed them last.
        protocol: the version of the protocol spoken; empty if it never came to that.
        ready_at: the loop's time when it was ready.
        proven: whether the server has answered anything since.
        why: why it ended.
    """

    def __init__(self, server: Server, on_change: Callable[[], None], on_answer: Callable[[], None]) -> None:
        self.server = server
        self.client: Client | None = None
        self.tools: dict[str, Listed] = {}
        self.protocol = ""
        self.proven = False
        self.why = ""
        self._on_change = on_change
        self._on_answer = on_answer
        self._loop = asyncio.get_running_loop()
        self._running: set[Running] = set()
        self._wake = asyncio.Event()
        self._listed = asyncio.Event()
        self._stale = self._suspect = False
        self._life = self._body = anyio.CancelScope()
        self.ready_at = self._heard_at = self._loop.time()

    # For callers

    async def send(self, client: Client, request: Request) -> Given:
        """Send a call and wait for its answer.

        Raises:
            NotTaken: the server did certainly not carry it out.
            McpError: anything else that went wrong.
        """
        request.sent = True
        running = Running(client, request)
        self._running.add(running)
        running.task.add_done_callback(lambda _: self._done(running))
        try:
            given = await running.given()
        except Exception as error:
            if isinstance(error, MCPError) and error.code == HEADER_MISMATCH:
                await self.relist()
                raise NotTaken("the tool's schema has changed", lost=False) from None
            raise explained(error, request, self.server.secrets) from None
        self._answered()
        return given

    def _done(self, running: Running) -> None:
        self._running.discard(running)
        self._heard_at = self._loop.time()

    def _answered(self) -> None:
        self.proven = True
        self._on_answer()

    async def relist(self) -> None:
        """Have the tools listed anew, if the connection lasts."""
        listed_anew = self._listed
        self.stale()
        await listed_anew.wait()

    def stale(self) -> None:
        """The server's tools may have changed."""
        self._stale = True
        self._wake.set()

    def suspect(self) -> None:
        """Try the connection out soon."""
        self._suspect = True
        self._wake.set()

    def leave(self, why: str) -> None:
        """End it; there is no harm in asking twice."""
        self.why = self.why or self._redacted(why)
        if self.client is None:
            self._life.cancel()
        self.client = None
        self._body.cancel()

    # For its owner

    async def hold(self) -> None:
        """Open it, keep it until it ends, and see that nothing of it is left. Whatever happens, `why` tells."""
        try:
            await self._connect()
        except (Exception, BaseExceptionGroup) as error:  # whatever a server makes the library raise
            self.why = self.why or self._told(error)
        self.client = None
        self._listed.set()
        self.why = self.why or f"it did not answer within {OPEN_S:g} s"
        for running in tuple(self._running):
            running.abandon()
        if left := [running.task for running in self._running]:
            await asyncio.wait(left)

    async def _connect(self) -> None:
        transport = streamable(self.server) if self.server.url else stdio(self.server, self.leave)
        about = Implementation(name="umbel", version="1")
        with anyio.CancelScope(deadline=anyio.current_time() + OPEN_S) as self._life:
            async with Client(
                transport,
                cache=None,
                message_handler=self._heard,
                client_info=about,
                elicitation_callback=self._elicited,
            ) as client:
                self.tools = await listed(client)
                self._life.deadline = float("inf")
                self._enter(client)
                await self._serve(client)
                self._life.deadline = anyio.current_time() + CLOSE_S

    def _enter(self, client: Client) -> None:
        self.client = client
        self.protocol = client.protocol_version
        self.ready_at = self._heard_at = self._loop.time()
        fields = {"server": self.server.name, "protocol": self.protocol, "tools": len(self.tools)}
        log.info("an mcp server is ready", extra=fields)
        self._on_change()

    def _told(self, error: BaseException) -> str:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, OSError) and error.strerror and self.server.command:
            return f"{self.server.where} can't be started: {error.strerror}"
        return self._redacted(str(error)) or type(error).__name__

    def _redacted(self, text: str) -> str:
        return str(redact(text, self.server.secrets))[:300]

    async def _serve(self, client: Client) -> None:
        with anyio.CancelScope() as self._body:
            async with anyio.create_task_group() as tasks:
                if (offered := client.server_capabilities.tools) and offered.list_changed:
                    tasks.start_soon(self._listen, client)
                while True:
                    await self._look_after(client)

    async def _look_after(self, client: Client) -> None:
        with anyio.move_on_after(max(self._heard_at + HEALTH_S - self._loop.time(), 0)):
            await self._wake.wait()
        self._wake.clear()
        if self._stale:
            await self._relist(client)
        elif self._suspect or self._loop.time() - self._heard_at >= HEALTH_S:
            await self._check(client)

    async def _relist(self, client: Client) -> None:
        # Cleared first: a change told meanwhile must be looked at, too.
        self._stale = False
        try:
            with anyio.fail_after(CHECK_S):
                self.tools = await listed(client)
        except (MCPError, ValueError, TimeoutError) as error:
            log.warning("tools can't be listed", extra={"server": self.server.name, "reason": self._told(error)})
            self.suspect()
        self._listed.set()
        self._listed = asyncio.Event()

    async def _check(self, client: Client) -> None:
        """Try the connection out. A server that is silent while it has work is left to it."""
        self._suspect = False
        why = ""
        try:
            with anyio.fail_after(CHECK_S):
                await self._probe(client)
        except TimeoutError:
            why = f"it did not answer within {CHECK_S:g} s"
        except (MCPError, ValueError) as error:
            silent = not isinstance(error, MCPError) or error.code != METHOD_NOT_FOUND
            why = self._told(error) if silent else ""
        self._heard_at = self._loop.time()
        if not why:
            self._answered()
        elif not self._running:
            self.leave(why)

    async def _probe(self, client: Client) -> None:
        if client.session.initialize_result is not None:
            await client.session.send_ping()
        else:
            self.tools = await listed(client)

    async def _elicited(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        # Since 2026-07-28 a question ends the call until it is answered. Before, it was asked during the call, without
        # a word about which one; without this, servers of either kind would not ask at all.
        running = tuple(self._running)
        return running[0].request.answer(params) if len(running) == 1 else NOT_NOW

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self.stale()

    async def _listen(self, client: Client) -> None:
        """Learn of changed tools. Before 2026-07-28 servers tell without being asked."""
        while True:
            with suppress(SubscriptionLost, TimeoutError):
                try:
                    async with client.listen(tools_list_changed=True) as changes:
                        async for _ in changes:
                            self.stale()
                except (ListenNotSupportedError, MCPError):
                    return
            await anyio.sleep(LISTEN_AGAIN_S)
            self.stale()  # what changed in between was not told
