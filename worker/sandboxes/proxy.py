"""The way out of a sandbox: a proxy that connects to allowed hosts only, and to the addresses it judged.

It takes CONNECT, and plain requests for `http://` URLs, one to a connection: what goes out is written anew from what
was understood, so nothing is smuggled along. Code inside is the other side: nothing it sends is believed.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

import h11

from config.reach import Place
from worker.sandboxes.network import Network
from worker.sandboxes.relay import PIECE, Budget, Relay, Spent
from worker.sandboxes.requests import Asked, Refusal, next_event, understood

HEAD_S = 20.0
CONNECT_S = 10.0
LINGER_S = 5.0
HEAD_MAX = 32 * 1024
#: Refusals told of one run.
TOLD_MAX = 10

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Proxy:
    """The proxy of one sandbox."""

    network: Network
    _budget: Budget = field(init=False)
    _opened: int = 0
    _accepting: "asyncio.Task[None] | None" = None
    _open: set["asyncio.Task[None]"] = field(default_factory=set)
    _refused: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._budget = Budget(self.network.most)

    def start(self, listener: socket.socket) -> None:
        """Accept what comes to a listener inside."""
        self._accepting = asyncio.create_task(self._accept(listener))

    async def hang_up(self) -> tuple[str, ...]:
        """End all connections; return what was refused since the last time."""
        open_ = list(self._open)
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)
        await asyncio.sleep(0)  # the loop closes their sockets
        refused = tuple(self._refused)
        self._refused.clear()
        return refused

    async def close(self) -> None:
        """End it."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        await self.hang_up()

    async def _accept(self, listener: socket.socket) -> None:
        # Every connection is counted, also one that is refused: each is work for the worker, which serves others.
        with listener:
            while self._opened < self.network.opened:
                inside, _ = await asyncio.get_running_loop().sock_accept(listener)
                self._opened += 1
                task = asyncio.create_task(self._accepted(inside))
                self._open.add(task)
                task.add_done_callback(partial(self._ended, inside))
        self._tell(Refusal(429, f"this sandbox has had its {self.network.opened} connections"))

    def _ended(self, inside: socket.socket, task: "asyncio.Task[None]") -> None:
        self._open.discard(task)
        inside.close()  # a task cancelled before it began has not

    async def _accepted(self, inside: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=inside, limit=PIECE)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError, h11.LocalProtocolError):
            pass  # the one inside is gone, or its run is, or makes no sense half way: nobody is left to be told
        finally:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX)
        try:
            async with asyncio.timeout(HEAD_S):
                asked = await self._understood(inside, reader)
            async with self._connected(asked.place) as (there, to):
                await self._carry(asked, inside, (reader, writer), (there, to))
        except Refusal as refusal:
            self._tell(refusal)
            writer.write(refusal.answer())
        await _flushed(reader, writer)

    async def _understood(self, inside: h11.Connection, reader: asyncio.StreamReader) -> Asked:
        if len(self._open) > self.network.connections:
            raise Refusal(429, "this sandbox has too many connections")
        if self._budget.left < 0:
            raise self._spent()
        asked = await understood(inside, reader)
        if not self.network.allows(asked.place):
            offered = ", ".join(map(str, self.network.places))
            raise Refusal(403, f"not in the allow-list of this sandbox, which has {offered}"[:1000], str(asked.place))
        return asked

    @contextlib.asynccontextmanager
    async def _connected(self, place: Place) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await self._connect(place)
        except (OSError, TimeoutError):
            raise Refusal(502, "can't be connected to", str(place)) from None
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def _connect(self, place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            found = await self.network.addresses(place.name, place.port, socket.AF_UNSPEC)
        except socket.gaierror:
            raise Refusal(502, "there is no such host", str(place)) from None
        except OSError:
            raise Refusal(403, "it does not point to public addresses only", str(place)) from None
        failed: OSError = OSError("it has no address")
        for address in found[:4]:  # never by name again: that could mean another address by now
            try:
                return await asyncio.open_connection(address, place.port, limit=PIECE)
            except OSError as error:
                failed = error
        raise failed

    async def _carry(
        self,
        asked: Asked,
        inside: h11.Connection,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        relay = Relay(self._budget)
        if asked.request is None:
            here[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            up = _tunnel(relay, inside, here[0], there[1])
        else:
            up = _request(relay, asked.request, inside, here[0], there[1])
        try:
            await relay.both(up, relay.pump(there[0], here[1]))
        except Spent:
            # Too late for an answer: what has been said so far is the host's.
            self._tell(self._spent())
        except Refusal as refusal:
            self._tell(refusal)

    def _spent(self) -> Refusal:
        return Refusal(429, f"this sandbox has had its {self.network.most} bytes of network")

    def _tell(self, refusal: Refusal) -> None:
        if len(self._refused) < TOLD_MAX:
            self._refused[str(refusal)] = None
        # Not which host: code inside makes up names, and could write into the log what it knows.
        log.info("a sandbox was refused a connection", extra={"status": refusal.status})


async def _tunnel(relay: Relay, inside: h11.Connection, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    if early := inside.trailing_data[0]:
        await relay.carry(early, to)
    await relay.pump(reader, to)


async def _request(
    relay: Relay, request: h11.Request, inside: h11.Connection, reader: asyncio.StreamReader, to: asyncio.StreamWriter
) -> None:
    out = h11.Connection(h11.CLIENT)
    await relay.carry(out.send(request) or b"", to)
    while isinstance(event := await next_event(inside, reader), h11.Data):
        await relay.carry(out.send(event) or b"", to)
    if isinstance(event, h11.EndOfMessage):
        await relay.carry(out.send(h11.EndOfMessage()) or b"", to)


async def _flushed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait until the one inside has read what it was told, or seems not to want to."""
    with contextlib.suppress(OSError, TimeoutError):
        writer.write_eof()
        async with asyncio.timeout(LINGER_S):
            while await reader.read(PIECE):
                pass
