"""Servers that are programs: started as children, spoken with over their stdin and stdout, one message a line.

The library's own transport reads a line of any length, and slowly if it is long, and leaves behind the children of a
server that ended by itself. This one bounds lines, notices the end at once, logs stderr, and leaves nothing behind.
"""

import asyncio
import logging
import os
import re
import signal
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, RequestId, jsonrpc_message_adapter

from worker.mcp.config import Server
from worker.mcp.wire import MESSAGE_MAX, Fault, OnEnd, fault_error
from worker.tools.redact import redact

#: Seconds a server may take to end by itself once its stdin is closed, and then after SIGTERM.
GRACE_S = 2.0
CHUNK = 65536
#: Characters of a line of stderr that are logged, and lines in any ten seconds.
LINE_MAX = 500
LINES_MAX = 50
_LINES_EVERY_S = 10.0
_EDGE = 200
_ID_FIRST = re.compile(
    rb'^\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d+|"[^"\\]{1,64}")\s*,\s*"(?:result|error)"'
)
_RESULT_FIRST = re.compile(rb'^\s*\{\s*"(?:result|error)"')
_ID_LAST = re.compile(rb'"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d+|"[^"\\]{1,64}")\s*\}\s*$')

Streams = tuple[ObjectReceiveStream[SessionMessage | Exception], ObjectSendStream[SessionMessage]]

log = logging.getLogger(__name__)


@asynccontextmanager
async def stdio(server: Server, on_end: OnEnd) -> AsyncGenerator[Streams, None]:
    """Start a server and give its streams; at the end stop it and whatever it started.

    Raises:
        OSError: it can't be started.
    """
    assert server.command is not None
    process = await asyncio.create_subprocess_exec(
        server.command,
        *server.args,
        env=get_default_environment() | dict(server.env),
        cwd=server.cwd,
        start_new_session=True,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=CHUNK,
    )
    # Nothing may be awaited before the `try`: a cancellation in between would leave the process behind.
    inbox, read = anyio.create_memory_object_stream[SessionMessage | Exception](16)
    write, outbox = anyio.create_memory_object_stream[SessionMessage](0)
    child = _Child(server, process, on_end)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child.listen, inbox)
            tasks.start_soon(child.speak, outbox)
            tasks.start_soon(child.overhear)
            try:
                yield read, write
            finally:
                child.on_end = None
                with anyio.CancelScope(shield=True):
                    await child.stop()
                tasks.cancel_scope.cancel()
    finally:
        child.kill()
        for stream in (inbox, read, write, outbox):
            stream.close()


class _Child:
    """The process of one server, and the three pipes to it."""

    def __init__(self, server: Server, process: asyncio.subprocess.Process, on_end: OnEnd | None) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.on_end = on_end
        self._server = server
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._stderr = process.stderr
        self._last_words = ""
        self._babbles = False

    async def listen(self, inbox: ObjectSendStream[SessionMessage | Exception]) -> None:
        """Hand on messages until the server closes its stdout."""
        lines = Lines(MESSAGE_MAX)
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionError):
            while chunk := await self._stdout.read(CHUNK):
                for line in lines.feed(chunk):
                    if (message := _message(line)) is None:
                        self._babbled()
                    elif isinstance(message, TooLong):
                        return await self._ended("it sent a message larger than allowed that answers no known call")
                    else:
                        await inbox.send(message)
        return await self._ended("")

    def _babbled(self) -> None:
        if not self._babbles:
            log.warning("an mcp server prints what is no message", extra={"server": self._server.name})
        self._babbles = True

    async def _ended(self, why: str) -> None:
        # Stdout ends a moment before the exit code is known.
        await self._exited(0.2)
        code = self._process.returncode
        how = f"it ended with code {code}" if code is not None else "it closed its output"
        if self.on_end is not None:
            self.on_end(why or (f"{how}: {self._last_words}" if self._last_words else how))

    async def speak(self, outbox: ObjectReceiveStream[SessionMessage]) -> None:
        """Write messages to the server, as fast as it reads them."""
        with suppress(ConnectionError):
            async for message in outbox:
                encoded = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                self._stdin.write(encoded.encode() + b"\n")
                await self._stdin.drain()

    async def overhear(self) -> None:
        """Log what the server prints to stderr, redacted, cut, and not without end."""
        since, logged = time.monotonic(), 0
        async for line in _short_lines(self._stderr):
            words = str(redact(line, self._server.secrets))
            self._last_words = words[:200]
            if time.monotonic() - since > _LINES_EVERY_S:
                since, logged = time.monotonic(), 0
            logged += 1
            if logged <= LINES_MAX:
                log.info("an mcp server says", extra={"server": self._server.name, "line": words})

    async def stop(self) -> None:
        """Close stdin, then ask with SIGTERM, then kill, each after a grace; at most some seconds in all."""
        self._stdin.close()
        if not await self._exited(GRACE_S):
            self._signal(signal.SIGTERM)
            await self._exited(GRACE_S)
        self._signal(signal.SIGKILL)
        if not await self._exited(GRACE_S):
            log.error("an mcp server survived SIGKILL", extra={"server": self._server.name, "pid": self._process.pid})

    def kill(self) -> None:
        """Kill whatever is left of the group, and let go of its pipes."""
        self._signal(signal.SIGKILL)
        # A grandchild in a session of its own may hold a pipe open; nothing public closes our end then.
        with suppress(PermissionError):
            self._process._transport.close()  # type: ignore[attr-defined]

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _exited(self, within_s: float) -> bool:
        # `wait()` also waits for the pipes, which a grandchild may hold.
        until = time.monotonic() + within_s
        while self._process.returncode is None and time.monotonic() < until:  # noqa: ASYNC110  # nobody tells
            await anyio.sleep(0.01)
        return self._process.returncode is not None


class TooLong:
    """A line that was too long, of which the beginning and the end are known."""

    def __init__(self) -> None:
        self.head = b""
        self.tail = b""

    def add(self, piece: bytes) -> None:
        """Take note of a piece of it."""
        if len(self.head) < _EDGE:
            self.head = (self.head + piece)[:_EDGE]
        self.tail = (self.tail + piece[-_EDGE:])[-_EDGE:]


class Lines:
    """Puts lines together from chunks, in time linear in their length; what is too long is not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: list[bytes] = []
        self._size = 0
        self._long: TooLong | None = None

    def feed(self, chunk: bytes) -> Iterator[bytes | TooLong]:
        """Take a chunk and give the lines it completes."""
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            self._add(piece)
            yield self._long or b"".join(self._pieces)
            self._pieces, self._size, self._long = [], 0, None
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._long is None and self._size <= self._most:
            self._pieces.append(piece)
            return
        if self._long is None:
            self._long = TooLong()
            for each in self._pieces:
                self._long.add(each)
            self._pieces = []
        self._long.add(piece)


def _message(line: bytes | TooLong) -> SessionMessage | TooLong | None:
    if isinstance(line, TooLong):
        answered = answered_id(line)
        error = fault_error(Fault.TOO_LARGE, f"the answer is larger than {MESSAGE_MAX >> 20} MiB")
        return line if answered is None else SessionMessage(JSONRPCError(jsonrpc="2.0", id=answered, error=error))
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None


def answered_id(line: TooLong) -> RequestId | None:
    """Return the id of the request a too long line answers, if its beginning or end says so beyond doubt."""
    found = _ID_FIRST.search(line.head)
    if found is None and _RESULT_FIRST.search(line.head):
        found = _ID_LAST.search(line.tail)
    if found is None:
        return None
    raw = found[1].decode()
    return raw[1:-1] if raw.startswith('"') else int(raw)


async def _short_lines(stream: asyncio.StreamReader) -> AsyncGenerator[str, None]:
    rest = b""
    while chunk := await stream.read(4096):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line.decode(errors="replace").strip()[:LINE_MAX]
        rest = rest[:LINE_MAX]
