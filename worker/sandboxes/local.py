"""A sandbox of this machine: the process that holds it, and what is asked of the one inside."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from worker.sandboxes import leftovers
from worker.sandboxes.base import MIB, Entry, Finished, Job, Limits, OnOutput, Stopped, Stream, Wanted
from worker.sandboxes.door import Door
from worker.sandboxes.errors import PathRefused, SandboxLost, SandboxUnavailable
from worker.sandboxes.network import ENVIRONMENT
from worker.sandboxes.proxy import Proxy
from worker.sandboxes.slots import Slot, take
from worker.sandboxes.wire import Channel, Head

log = logging.getLogger(__name__)

START_S = 20.0
#: How much longer than its limit a run may take until the one inside is no longer relied on.
GRACE_S = 5.0
END_S = 10.0
REPLY_S = 60.0
LIST_MAX = 32 * MIB
WORDS_MAX = 2000

#: Makes the command that starts a sandbox; its file 0 is the socket. It writes `{"child-pid": n}` to the given file.
Command = Callable[[Wanted, Sequence[str], int], "Launch"]


@dataclass(slots=True)
class Launch:
    """A command, and the open files it needs beside the three."""

    argv: list[str]
    files: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Holder:
    """The process that holds a sandbox, and the one inside by a handle that never points to another."""

    process: asyncio.subprocess.Process
    slot: Slot
    inside: int | None = None

    async def end(self) -> None:
        """Kill all of it; when process 1 inside is gone, so is everybody else in there."""
        if self.inside is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.inside, signal.SIGKILL)
            await _gone(self.inside)
        elif self.process.returncode is None:
            # Not `process.kill()`: it may take the exit code away from who waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        self.slot.release()


async def _gone(handle: int) -> None:
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        async with asyncio.timeout(END_S):
            await gone.wait()
    except TimeoutError:  # only a kernel that is stuck in a call of it holds back a killed process
        log.error("a sandbox survived SIGKILL")
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def start(command: Command, wanted: Wanted, python: str, first_uid: int) -> "LocalSandbox":
    """Start a sandbox.

    Args:
        command: how.
        wanted: what it is to be like.
        python: the interpreter inside.
        first_uid: the first of the users set aside for sandboxes, if this is root.

    Raises:
        SandboxUnavailable: it does not start; the message has the starter's own words.
        SandboxBusy: all places are taken.
    """
    slot = take(first_uid)
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as opened, theirs:
        told, telling = _kept(opened, *os.pipe())
        door = Door(opened) if wanted.network else None
        parts = _kept(opened, *(as_file(each) for each in _programs(door)))
        code = f"import os\nfor part in {parts}: exec(os.fdopen(part).read())"
        inside = (python, "-I", "-S", "-c", code, leftovers.mark(), *(door.words if door else ()))
        try:
            launch = command(wanted, inside, telling)
            _kept(opened, *launch.files)
            holder = await _spawn(launch, [telling, *parts, *(door.files if door else ())], theirs, slot)
        except BaseException as error:
            ours.close()
            slot.release()
            if isinstance(error, OSError):
                raise SandboxUnavailable(f"a sandbox can't be started: {error.strerror}") from None
            raise
        theirs.close()
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            await holder.end()
            raise
        sandbox = await _greeted(LocalSandbox(holder, Channel(reader, writer), wanted.limits), holder, told)
        if door is not None and wanted.network is not None:
            await sandbox.connect(Proxy(wanted.network), door)
        return sandbox


def _kept(opened: contextlib.ExitStack, *files: int) -> tuple[int, ...]:
    for file in files:
        opened.callback(os.close, file)
    return files


async def _spawn(launch: Launch, files: list[int], theirs: socket.socket, slot: Slot) -> Holder:
    # Only C code runs between fork and exec: the change of user is subprocess's own.
    user: dict[str, Any] = {} if slot.uid is None else {"user": slot.uid, "group": slot.uid, "extra_groups": []}
    process = await asyncio.create_subprocess_exec(
        *launch.argv,
        stdin=theirs.fileno(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=[*files, *launch.files],
        cwd="/",
        env={},
        start_new_session=True,
        **user,
    )
    return Holder(process, slot)


async def _greeted(sandbox: "LocalSandbox", holder: Holder, told: int) -> "LocalSandbox":
    try:
        async with asyncio.timeout(START_S):
            head, _ = await sandbox.channel.receive(0)
        if head.get("ready") is not True or head.get("pid") != 1:
            raise SandboxUnavailable("what answers in the sandbox is not its process 1")
        holder.inside = os.pidfd_open(int(json.loads(os.read(told, 1000))["child-pid"]))
    except (SandboxLost, TimeoutError, KeyError, ValueError, OSError):
        words = await _last_words(holder)
        await sandbox.destroy()
        raise SandboxUnavailable(f"a sandbox does not start: {words}") from None
    except BaseException:
        await sandbox.destroy()
        raise
    return sandbox


async def _last_words(holder: Holder) -> str:
    assert holder.process.stderr is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            return (await holder.process.stderr.read(WORDS_MAX)).decode(errors="replace").strip() or "no reason given"
    return "it takes too long"


class Held(Protocol):
    """What a sandbox lives in."""

    async def end(self) -> None:
        """End it; returns when nothing is left."""
        ...


class LocalSandbox:
    """A sandbox of this machine; see `base.Sandbox`."""

    grace_s = GRACE_S

    def __init__(self, holder: Held, channel: Channel, limits: Limits) -> None:
        self.channel = channel
        self.limits = limits
        self._holder: Held | None = holder
        self._turn = asyncio.Lock()
        self._lost = False
        self._proxy: Proxy | None = None

    async def connect(self, proxy: Proxy, door: Door) -> None:
        """Give it a network: what comes out of the door goes over the proxy.

        Raises:
            SandboxUnavailable: nothing listens inside.
        """
        self._proxy = proxy
        try:
            proxy.start(door.listener())
        except BaseException as error:
            await self.destroy()
            if isinstance(error, OSError):
                raise SandboxUnavailable("a sandbox has no way to its network") from None
            raise

    async def run(self, job: Job, on_output: OnOutput | None = None) -> Finished:
        """Run a job to its end, and end whatever it started."""
        limits = self.limits
        wall_s = min(job.wall_s or limits.wall_s, limits.wall_s)
        most = min(job.output or limits.output, limits.output)
        env = dict(job.env) if self._proxy is None else {**ENVIRONMENT, **job.env}
        asked = asdict(limits) | {"do": "run", "wall_s": wall_s, "output": most, "env": env}
        asked |= {"code": job.code} if job.code is not None else {"argv": _argv(job)}
        collected = Collected(most, on_output)
        async with self._asking(wall_s + self.grace_s):
            await self._send(asked, job.stdin)
            head, body = await self.channel.receive(most)
            while "stream" in head:
                collected.add(head["stream"], body)
                head, body = await self.channel.receive(most)
        done = collected.finished(head)
        return done if self._proxy is None else replace(done, refused=await self._proxy.hang_up())

    async def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Write a file."""
        await self._ask({"do": "write", "path": path, "executable": executable}, content)

    async def read(self, path: str, start: int = 0, limit: int = MIB) -> bytes:
        """Return a part of a file."""
        _, content = await self._ask({"do": "read", "path": path, "start": start, "limit": limit}, most=limit)
        return content

    async def entries(self, path: str = ".") -> list[Entry]:
        """Return what is in a directory and below."""
        _, listed = await self._ask({"do": "entries", "path": path}, most=LIST_MAX)
        try:
            return [Entry(str(name), int(size), bool(directory)) for name, size, directory in json.loads(listed)]
        except (ValueError, TypeError):
            raise SandboxLost("the sandbox was lost: it sends what is no listing") from None

    async def snapshot(self, limit: int) -> bytes | None:
        """Return the work directory as one value."""
        head, content = await self._ask({"do": "snapshot", "limit": limit}, most=limit)
        return None if head.get("too_large") else content

    async def restore(self, snapshot: bytes) -> None:
        """Put the files of a snapshot in place of what is there."""
        await self._ask({"do": "restore"}, snapshot)

    async def destroy(self) -> None:
        """End it and everything in it."""
        holder, self._holder, self._lost = self._holder, None, True
        self.channel.close()
        await asyncio.shield(self._end(holder))

    async def _end(self, holder: Held | None) -> None:
        if holder is not None:
            await holder.end()
        if self._proxy is not None:
            await self._proxy.close()

    async def _ask(self, head: Head, body: bytes = b"", most: int = 0) -> tuple[Head, bytes]:
        async with self._asking(REPLY_S):
            await self._send(head, body)
            head, content = await self.channel.receive(most)
        if "refused" in head:
            raise PathRefused(str(head["refused"])[:500])
        return head, content

    async def _send(self, head: Head, body: bytes) -> None:
        try:
            await self.channel.send(head, body)
        except UnicodeEncodeError:
            raise PathRefused("a name or a text is not valid Unicode") from None

    @contextlib.asynccontextmanager
    async def _asking(self, within_s: float) -> AsyncIterator[None]:
        async with self._turn:
            if self._lost:
                raise SandboxLost("the sandbox was lost, and its files with it")
            try:
                async with asyncio.timeout(within_s):
                    yield
            except TimeoutError:
                await self.destroy()
                raise SandboxLost("the sandbox was lost, and its files with it: it does not answer") from None
            except BaseException:
                # Given up half way, also by a cancellation: what it says next would answer another question.
                await self.destroy()
                raise


class Collected:
    """What a run printed, up to its limit."""

    def __init__(self, most: int, on_output: OnOutput | None) -> None:
        self._left = most
        self._on_output = on_output
        self._parts: dict[Stream, list[bytes]] = {Stream.STDOUT: [], Stream.STDERR: []}

    def add(self, name: Any, piece: bytes) -> None:
        """Take a piece."""
        if name not in ("stdout", "stderr") or not piece:
            return
        stream, piece = Stream(name), piece[: self._left]
        self._left -= len(piece)
        self._parts[stream].append(piece)
        if self._on_output is not None and piece:
            self._on_output(stream, piece)

    def finished(self, head: Head) -> Finished:
        """Return the run's end.

        Raises:
            SandboxLost: what the one inside says of it can't be read.
        """
        try:
            stopped = Stopped(head["stopped"]) if head["stopped"] else None
            times = float(head["wall_s"]), float(head["cpu_s"]), int(head["memory"])
            stdout, stderr = (b"".join(self._parts[each]) for each in Stream)
            return Finished(int(head["code"]), stdout, stderr, stopped, *times)
        except (KeyError, ValueError, TypeError):
            raise SandboxLost("the sandbox was lost: it sends what is no result") from None


def _programs(door: Door | None) -> list[bytes]:
    names = ["listen.py"] * (door is not None) + ["inside.py"]
    return [Path(__file__).with_name(name).read_bytes() for name in names]


def as_file(content: bytes) -> int:
    """Return an open file of this content that has no name anywhere."""
    file = os.memfd_create("umbel")
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _argv(job: Job) -> list[str]:
    return list(job.argv) if job.shell is None else ["/bin/sh", "-c", job.shell]
