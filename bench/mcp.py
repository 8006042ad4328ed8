"""mcp: calls of a tool of an MCP server through Umbel's pool, and through the protocol's own client, bare.

Both make the same calls to the same kind of server in turn, in this process. The server does next to nothing, so what
is compared is what a call costs on the way there and back. The pool also vets the tool, bounds what is under way,
watches time limits and brings the answer into its shape.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from importlib.metadata import version

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.server.mcpserver import MCPServer

from bench.__main__ import Plan
from bench.report import Report
from worker.mcp.config import Server
from worker.mcp.pooling import Pool

#: More at once, and the bare client ends with the first connection a busy server drops.
CALLERS = 64
CALLS = 30
GOAL = 0.7
UMBEL, BARE = "umbel", "mcp client"

Call = Callable[[str], Awaitable[str]]


def run(plan: Plan) -> Report:
    """Measure both transports, in interleaved rounds."""
    report = Report("mcp", f"{CALLERS} callers at once, calls of a tool that gives back its text")
    report.versions["mcp"] = version("mcp")
    for round_ in range(plan.rounds):
        for transport in ("stdio", "http"):
            plan.say(f"round {round_ + 1} of {plan.rounds}: {transport}")
            asyncio.run(_round(report, transport, plan.size(CALLS), swapped=bool(round_ % 2)))
    for transport in ("stdio", "http"):
        ours, theirs = f"{UMBEL}, {transport}", f"{BARE}, {transport}"
        ratio = report.ratio(ours, theirs, "calls/s")
        report.goal(f"calls/s beside the bare client, {transport}", ratio, ">=", GOAL)
        slower = report.ratio(ours, theirs, "p99 ms")
        report.goal(f"p99 beside the bare client, {transport}", slower, "<=", 1 / GOAL)
    return report


async def _round(report: Report, transport: str, calls: int, *, swapped: bool) -> None:
    async with _server(transport) as server:
        contenders = {UMBEL: _umbel, BARE: _bare}
        for name in sorted(contenders, reverse=swapped):
            async with contenders[name](server) as call:
                await _played(call, 2)
                report.add(f"{name}, {transport}", await _played(call, calls))


async def _played(call: Call, calls: int) -> dict[str, float]:
    took: list[float] = []

    async def caller(number: int) -> None:
        for each in range(calls):
            began = time.perf_counter()
            text = f"{number}.{each}"
            if await call(text) != text:
                raise AssertionError("the wrong answer")
            took.append(time.perf_counter() - began)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(caller, range(CALLERS)))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    took.sort()
    return {
        "calls/s": len(took) / seconds,
        "p50 ms": took[len(took) // 2] * 1000,
        "p99 ms": took[int(len(took) * 0.99)] * 1000,
        "cpu ms/call": cpu * 1000 / len(took),
    }


@asynccontextmanager
async def _umbel(server: Server) -> AsyncIterator[Call]:
    async def source() -> dict[str, Server]:
        return {server.name: server}

    pool = Pool(source)

    async def call(text: str) -> str:
        return (await pool.call(server.name, "echo", {"text": text}, idempotency_key=text)).text

    try:
        await pool.tools()
        yield call
    finally:
        await pool.close()


@asynccontextmanager
async def _bare(server: Server) -> AsyncIterator[Call]:
    there = StdioServerParameters(command=server.command, args=list(server.args)) if server.command else server.url
    assert there is not None
    async with Client(there) as client:
        await client.list_tools()

        async def call(text: str) -> str:
            result = await client.call_tool("echo", {"text": text})
            return str(result.content[0].text)  # type: ignore[union-attr]

        yield call


@asynccontextmanager
async def _server(transport: str) -> AsyncIterator[Server]:
    command = [sys.executable, "-m", "bench.mcp"]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = Server("echo", command=command[0], args=tuple(command[1:]), env=paths, timeout_s=120)
    if transport == "stdio":
        # Both start one of their own.
        yield program
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], stderr=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        await _listening(port)
        yield replace(program, command=None, args=(), env={}, url=f"http://127.0.0.1:{port}/mcp")
    finally:
        process.kill()
        process.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


def serve(port: int | None) -> None:
    """Be the server: at a port, or over stdin and stdout."""
    server = MCPServer("echo", log_level="WARNING")

    @server.tool(structured_output=False)
    def echo(text: str) -> str:
        """Give back what was given."""
        return text

    if port is None:
        server.run("stdio")
    else:
        server.run("streamable-http", port=port)


if __name__ == "__main__":
    serve(int(sys.argv[1]) if sys.argv[1:] else None)
