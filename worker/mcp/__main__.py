"""`python -m worker.mcp`: look at the MCP servers of this installation, try them out, approve changed tools."""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from config.settings import get_settings
from worker.mcp.config import Server, read_servers
from worker.mcp.connection import Connection
from worker.mcp.errors import McpError
from worker.mcp.listing import Listed
from worker.mcp.pacing import Pace
from worker.mcp.pins import FilePins
from worker.mcp.source import pins_beside

DESCRIPTION_SHOWN = 100

Seen = dict[str, dict[str, Listed] | McpError]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 if something is not as it should be."""
    options = _parser().parse_args(argv)
    file = options.servers or get_settings().mcp_servers
    if not file:
        return _say("No file of servers: set UMBEL_MCP_SERVERS, or give --servers FILE.", 1)
    try:
        return asyncio.run(_run(options, Path(file)))
    except McpError as error:
        return _say(f"{error.code}: {error}", 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker.mcp", description=__doc__)
    parser.add_argument("--servers", metavar="FILE", help="file of servers  [default: UMBEL_MCP_SERVERS]")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("list", help="show every server's tools, and which are approved")
    show.add_argument("names", nargs="*", metavar="server", help="only these")
    check = commands.add_parser("check", help="1 if a server can't be reached or a tool has changed")
    check.add_argument("names", nargs="*", metavar="server", help="only these")
    approve = commands.add_parser("approve", help="approve tools as they are now")
    approve.add_argument("names", nargs="+", metavar="server[.tool]", help="one tool, or all of a server")
    return parser


async def _run(options: argparse.Namespace, file: Path) -> int:
    servers = await asyncio.to_thread(read_servers, file)
    wanted = sorted({name.partition(".")[0] for name in options.names} or set(servers))
    if unknown := [name for name in wanted if name not in servers]:
        return _say(f"No server {', '.join(unknown)}; there are: {', '.join(sorted(servers)) or 'none'}.", 1)
    seen = await _seen({name: servers[name] for name in wanted})
    pins = pins_beside(file)
    if options.command == "approve":
        return await _approve(options.names, seen, pins)
    return _show(servers, seen, await pins.load(), with_tools=options.command == "list")


async def _seen(servers: Mapping[str, Server]) -> Seen:
    return dict(zip(servers, await asyncio.gather(*map(_look, servers.values())), strict=True))


async def _look(server: Server) -> dict[str, Listed] | McpError:
    connection = Connection(server, Pace())
    try:
        return await connection.ready()
    except McpError as error:
        return error
    finally:
        await connection.close()


async def _approve(names: Sequence[str], seen: Seen, pins: FilePins) -> int:
    approved: dict[str, str] = {}
    for name in names:
        server, _, tool = name.partition(".")
        tools = seen[server]
        if isinstance(tools, McpError):
            return _say(f"{server}: {tools}", 1)
        if tool and tool not in tools:
            return _say(f"{server} has no tool {tool}; it has: {', '.join(tools) or 'none'}", 1)
        approved |= {f"{server}.{each}": tools[each].hash for each in ([tool] if tool else tools)}
    await pins.approve(approved, replace=True)
    return _say("\n".join(f"approved  {name}" for name in sorted(approved)), 0)


def _show(servers: Mapping[str, Server], seen: Seen, pinned: Mapping[str, str], *, with_tools: bool) -> int:
    wrong = 0
    for name, tools in seen.items():
        server = servers[name]
        if isinstance(tools, McpError):
            wrong = _say(f"{name}  {server.where}  AWAY: {tools}", 1)
            continue
        states = {tool: _state(server, tool, listed, pinned) for tool, listed in tools.items()}
        changed = [tool for tool, state in states.items() if state == "CHANGED"]
        wrong = 1 if changed else wrong
        _say(f"{name}  {server.where}  ready, {len(tools)} tools, {len(changed)} changed")
        for tool, state in states.items():
            if with_tools or state == "CHANGED":
                said = tools[tool].description
                # Whoever is to approve a changed tool has to see all a model would be told.
                first = said if state == "CHANGED" else said.partition("\n")[0][:DESCRIPTION_SHOWN]
                _say(f"  {state:<9} {server.effect_of(tool):<10} {name}.{tool}  {first}".rstrip())
    return wrong


def _state(server: Server, tool: str, listed: Listed, pinned: Mapping[str, str]) -> str:
    if server.tools is not None and tool not in server.tools:
        return "left out"
    before = pinned.get(f"{server.name}.{tool}")
    return "new" if before is None else "approved" if before == listed.hash else "CHANGED"


def _say(line: str, code: int = 0) -> int:
    sys.stdout.write(line + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
