"""Real servers in processes of their own, and pools of connections to them. Nothing may be left afterwards."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from worker.mcp import pooling
from worker.mcp.answers import Answer
from worker.mcp.errors import McpError
from worker.mcp.pins import Pins
from worker.mcp.pooling import Pool
from worker.mcp.source import ServersFile, pins_beside

SERVER = Path(__file__).with_name("server.py")
PATIENCE_S = 30
#: How tests reach a server: as a child or over HTTP, in the old protocol or the new one.
WAYS = ("stdio", "stdio legacy", "http", "http json", "http legacy")


async def until(true: Callable[[], Any], what: str = "") -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.01)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class HttpServer:
    """A server at a port, which can be killed and started again; ours, unless it is another command."""

    arguments: list[str]
    command: list[str] | None = None
    variable: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = self.command or [sys.executable, str(SERVER), "--http", str(self.port), *self.arguments]
        environment = os.environ | ({self.variable: str(self.port)} if self.variable else {})
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment)
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise AssertionError("the server does not listen")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class Lab:
    """A file of servers and pools that read it."""

    folder: Path
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    pools: list[Pool] = field(default_factory=list)
    started: dict[str, HttpServer] = field(default_factory=dict)
    shared: dict[str, HttpServer] = field(default_factory=dict)
    before: frozenset[int] = field(default_factory=frozenset)

    @property
    def file(self) -> Path:
        return self.folder / "servers.json"

    def server(self, name: str, way: str = "stdio", *arguments: str, **keys: Any) -> None:
        """Put a server of ours into the file, and start it if it is not a child."""
        kind, *options = way.split()
        words = [f"--{option}" for option in options] + list(arguments)
        if kind == "stdio":
            self.entry(name, command=sys.executable, args=[str(SERVER), *words], **keys)
            return
        self.entry(name, url=f"http://127.0.0.1:{self.listening(name, words).port}/mcp", **keys)

    def listening(self, name: str, words: list[str]) -> HttpServer:
        if not (server := self.shared.get(" ".join(words))):
            server = HttpServer(words)
            server.start()
            self.started[name] = server
        return server

    def program(self, name: str, command: list[str], variable: str) -> HttpServer:
        """Start another HTTP server that takes its port from a variable."""
        self.started[name] = HttpServer([], command=command, variable=variable)
        self.started[name].start()
        return self.started[name]

    def children(self) -> list[int]:
        return [each.pid for each in psutil.Process().children() if each.pid not in self.before]

    def entry(self, name: str, **keys: Any) -> None:
        self.entries[name] = keys
        self.write()

    def write(self, text: str | None = None) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(text if text is not None else json.dumps({"mcpServers": self.entries}))
        new.replace(self.file)

    def pool(self, pins: Pins | None = None) -> Pool:
        pool = Pool(ServersFile(self.file), pins or pins_beside(self.file))
        self.pools.append(pool)
        return pool

    async def close(self) -> None:
        for pool in self.pools:
            await pool.close()
        for server in self.started.values():
            server.kill()


@pytest.fixture(scope="module")
def shared() -> Iterator[dict[str, HttpServer]]:
    """Servers that no test harms."""
    started = {" ".join(words): HttpServer(words) for words in ([], ["--json"], ["--legacy"])}
    for server in started.values():
        server.start()
    yield started
    for server in started.values():
        server.kill()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    before = frozenset(process.pid for process in psutil.Process().children(recursive=True))
    lab = Lab(tmp_path, before=before)
    yield lab
    await lab.close()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    left = [each for each in psutil.Process().children(recursive=True) if each.pid not in before]
    assert [each.cmdline() for each in left] == []


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes of files are noticed at the next use."""
    monkeypatch.setattr(pooling, "LOOK_EVERY_S", 0.0)


_keys = iter(range(10**9))


async def call(
    pool: Pool, tool: str, *, server: str = "one", options: dict[str, Any] | None = None, **args: Any
) -> Answer:
    """Call a tool with a key of its own."""
    return await pool.call(server, tool, args, idempotency_key=f"test:{next(_keys)}", **(options or {}))


async def outcome(calling: Any) -> str:
    """The text of an answer, or the code of the error."""
    try:
        return str((await calling).text)
    except McpError as error:
        return error.code


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, 9)
