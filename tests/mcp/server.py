"""An MCP server that does what tests ask of it, well or badly. Run as a program: see the options."""

import argparse
import asyncio
import base64
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mcp.server.lowlevel import NotificationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    METHOD_NOT_FOUND,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel


class Sure(BaseModel):
    sure: bool


KEY = "io.umbel/idempotencyKey"


async def only_legacy(ctx: Any, call_next: Any) -> Any:
    """Knows nothing of the protocol since 2026-07-28."""
    if ctx.method == "server/discover":
        raise MCPError(METHOD_NOT_FOUND, "Method not found")
    return await call_next(ctx)


def made(options: argparse.Namespace) -> MCPServer:
    stdout = os.readlink("/proc/self/fd/1")
    server = MCPServer("faulty", middleware=[only_legacy] if options.legacy else None, log_level="WARNING")

    @server.tool()
    def echo(text: str) -> str:
        """Give back what was given."""
        return text

    @server.tool(structured_output=True)
    def add(a: int, b: int) -> dict[str, int]:
        """Add two numbers."""
        return {"sum": a + b}

    @server.tool()
    def pid() -> str:
        """Say which process this is."""
        return str(os.getpid())

    @server.tool()
    def environment(name: str) -> str:
        """Say what a variable holds."""
        return os.environ.get(name, "(unset)")

    @server.tool()
    def header(name: str, ctx: Context) -> str:
        """Say what a header holds."""
        return (ctx.headers or {}).get(name, "(unset)")

    @server.tool()
    def key(ctx: Context) -> str:
        """Give back the idempotency key."""
        return str((ctx.request_context.meta or {}).get(KEY))

    @server.tool()
    def failing() -> str:
        """Fail."""
        raise ToolError("the disk is full")

    @server.tool()
    def dying() -> str:
        """Die at once."""
        os._exit(3)

    @server.tool()
    async def waiting(file: str) -> str:
        """Touch `file`.began and wait until the file is there; touch `file`.cancelled when cancelled."""
        Path(file + ".began").touch()
        try:
            while not Path(file).exists():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            Path(file + ".cancelled").touch()
            raise
        return "done"

    @server.tool()
    async def hanging() -> str:
        """Never answer anything again."""
        while True:
            time.sleep(1)

    @server.tool()
    async def slow(steps: int, every_s: float, ctx: Context) -> str:
        """Report progress now and then."""
        for step in range(steps):
            await asyncio.sleep(every_s)
            await ctx.report_progress(step + 1, steps, f"step {step + 1}")
        return "done"

    @server.tool()
    def big(size: int) -> CallToolResult:
        """Answer with much text."""
        return CallToolResult(content=[TextContent(text="x" * size)])

    @server.tool()
    def mixed() -> CallToolResult:
        """Answer with text, an image and a resource."""
        picture = base64.b64encode(b"\x89PNG" * 10).decode()
        note = TextResourceContents(uri="memo://1", text="a note", mime_type="text/plain")
        return CallToolResult(
            content=[
                TextContent(text="look"),
                ImageContent(data=picture, mime_type="image/png"),
                EmbeddedResource(resource=note),
            ]
        )

    @server.tool()
    def complain(text: str) -> str:
        """Print to stderr."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
        return "said"

    @server.tool()
    def babble(text: str) -> str:
        """Print to stdout what does not belong there; the library itself keeps `print` away from it."""
        for each in Path("/proc/self/fd").iterdir():
            if each.name != "2" and each.exists() and os.readlink(each) == stdout:
                os.write(int(each.name), text.encode() + b"\n")
                break
        return "said"

    @server.tool()
    def child() -> str:
        """Start a process that outlives this one if nobody cares."""
        return str(subprocess.Popen(["sleep", "1000"]).pid)

    @server.tool()
    async def ask(ctx: Context, strange: bool = False, page: bool = False) -> str | InputRequiredResult:
        """Ask for a colour, and perhaps to look at a page, then say it; or ask in a way that nobody can answer."""
        if strange:
            nowhere = ElicitRequestURLParams(message="Go there", url="file:///etc/passwd")
            return InputRequiredResult(input_requests={"it": ElicitRequest(params=nowhere)})
        if ctx.input_responses is None:
            form = ElicitRequestFormParams(
                message="Which colour?", requested_schema={"type": "object", "properties": {"c": {"type": "string"}}}
            )
            asked = {"colour": ElicitRequest(params=form)}
            if page:
                there = ElicitRequestURLParams(message="Look at it first", url="https://example.com/colours")
                asked["a page"] = ElicitRequest(params=there)
            return InputRequiredResult(input_requests=asked, request_state="state-1")
        answer = ctx.input_responses["colour"]
        if answer.action != "accept":
            return f"{answer.action}d"
        seen = f", page {ctx.input_responses['a page'].action}ed" if page else ""
        return f"{answer.content['c']} after {ctx.request_state}{seen}"

    @server.tool()
    async def ask_at_once(ctx: Context) -> str:
        """Ask during the call, as servers did before 2026-07-28."""
        answer = await ctx.elicit("Really?", Sure)
        return answer.action

    @server.tool()
    async def grow(name: str, ctx: Context) -> str:
        """Get one more tool, and say so."""
        server.add_tool(lambda: name, name=name, description="a new one")
        await ctx.notify_tools_changed()
        if options.legacy:
            await ctx.session.send_tool_list_changed()
        return "grown"

    def described(text: str) -> str:
        return text

    server.add_tool(
        described, name="described", description=options.describe.read_text() if options.describe else "as ever"
    )
    for number in range(options.tools):
        server.add_tool(lambda x=0: str(x), name=f"tool_{number:04}", description=f"number {number}")
    return server


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", type=int, help="serve at this port instead of stdio")
    parser.add_argument("--json", action="store_true", help="answer with JSON instead of events")
    parser.add_argument("--legacy", action="store_true", help="know only the handshake and sessions")
    parser.add_argument("--tools", type=int, default=0, help="so many tools more")
    parser.add_argument("--describe", type=Path, help="file with the description of one tool")
    parser.add_argument("--gate", type=Path, help="touch this file with .waits, and start once it is there")
    parser.add_argument("--exit", type=int, help="end at once with this code")
    options = parser.parse_args()
    if options.exit is not None:
        sys.stderr.write("no license found\n")
        sys.exit(options.exit)
    if options.gate:
        Path(f"{options.gate}.waits").touch()
        while not options.gate.exists():
            time.sleep(0.01)
    server = made(options)
    if options.http:
        server.run("streamable-http", port=options.http, json_response=options.json)
    elif options.legacy:
        asyncio.run(legacy_stdio(server))
    else:
        server.run("stdio")


async def legacy_stdio(server: MCPServer) -> None:
    """Serve the handshake only: the library's own way settles on the newer protocol at the first probe."""
    inner = server._lowlevel_server
    options = inner.create_initialization_options(NotificationOptions(tools_changed=True))
    async with stdio_server() as (read, write), inner.lifespan(inner) as state:
        await serve_loop(inner, read, write, lifespan_state=state, init_options=options)


if __name__ == "__main__":
    main()
