"""Commands about what an account declares for itself: agents, providers, mcp-servers."""

import json
from collections.abc import Callable
from typing import Any

import click

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json
from umbel_client.cli.submitting import JsonInput
from umbel_client.client import Umbel
from umbel_client.declared import Agent, McpServer, Provider

Kept = Agent | McpServer | Provider

name_of = click.argument("name")
# From standard input by default: what is on a command line is in the shell's history and in every list of processes.
given = click.argument("given", type=JsonInput(), default="-", metavar="[@FILE|-]")


def _kept_by_name(
    group: click.Group, put: Callable[[Umbel, str, Any], Kept], remove: Callable[[Umbel, str], None], help: str
) -> None:
    """Give `group` the commands put and remove; `help` is the text of the one, and after a bar that of the other."""
    put_help, _, remove_help = help.partition(" | ")

    @group.command("put", help=put_help)
    @name_of
    @given
    @as_json
    @pass_session
    def put_(session: Session, name: str, given: dict[str, Any], as_json: bool) -> None:
        with session.connect() as umbel:
            _tell(session, put(umbel, name, given), as_json)

    @group.command("remove", help=remove_help)
    @name_of
    @pass_session
    def remove_(session: Session, name: str) -> None:
        with session.connect() as umbel:
            remove(umbel, name)
        session.out.print(f"removed {name}", markup=False)


@click.group()
def agents() -> None:
    """Agents the account keeps by name: what they are told, and what they may use."""


_kept_by_name(
    agents,
    Umbel.put_agent,
    Umbel.remove_agent,
    "Create or replace an agent, given as JSON in a file or on standard input. | "
    "Forget an agent; tasks submitted with it go on.",
)


@agents.command("list")
@as_json
@pass_session
def list_agents(session: Session, as_json: bool) -> None:
    """List them; --json has what they are told."""
    with session.connect() as umbel:
        found = [*umbel.agents()]
    if as_json:
        print_json([each.raw for each in found])
        return
    rows = [(each.name, str(each.version), _tools(each.definition), each.description) for each in found]
    render.table(session.out, ("name", "version", "tools", "description"), rows)


@click.group()
def providers() -> None:
    """Providers of models the account keeps, beside those of the server's settings."""


_kept_by_name(
    providers,
    Umbel.put_provider,
    Umbel.remove_provider,
    "Create or replace a provider, given as JSON in a file or on standard input. | Forget a provider and its keys.",
)


@providers.command("list")
@as_json
@pass_session
def list_providers(session: Session, as_json: bool) -> None:
    """List them; keys are shown by label and last four characters."""
    with session.connect() as umbel:
        found = [*umbel.providers()]
    if as_json:
        print_json([each.raw for each in found])
        return
    rows = [
        (each.name, each.kind, each.base_url or "", _keys(each.keys), ", ".join(each.models or ["any"]))
        for each in found
    ]
    render.table(session.out, ("name", "kind", "base url", "keys", "models"), rows)


@click.group("mcp-servers")
def mcp_servers() -> None:
    """MCP servers the account keeps, beside those of the server's file."""


_kept_by_name(
    mcp_servers,
    Umbel.put_mcp_server,
    Umbel.remove_mcp_server,
    "Create or replace a server, given as an entry of mcpServers JSON in a file or on standard input. | "
    "Forget a server and its secrets.",
)


@mcp_servers.command("list")
@as_json
@pass_session
def list_servers(session: Session, as_json: bool) -> None:
    """List them, without their secrets."""
    with session.connect() as umbel:
        found = [*umbel.mcp_servers()]
    if as_json:
        print_json([each.raw for each in found])
        return
    rows = [(each.name, _where(each.entry), ", ".join(each.approved)) for each in found]
    render.table(session.out, ("name", "where", "approved tools"), rows)


@mcp_servers.command("import")
@given
@as_json
@pass_session
def import_servers(session: Session, given: dict[str, Any], as_json: bool) -> None:
    """Put all servers of an mcpServers file, or none."""
    with session.connect() as umbel:
        kept = umbel.import_mcp_servers(given)
    if as_json:
        print_json([each.raw for each in kept])
        return
    for each in kept:
        _tell(session, each, as_json=False)


@mcp_servers.command("approve")
@name_of
@click.argument("tools", nargs=-1)
@pass_session
def approve_tools(session: Session, name: str, tools: tuple[str, ...]) -> None:
    """Approve changed TOOLS of a server, or all of them, as they are when they are seen next."""
    with session.connect() as umbel:
        umbel.approve_mcp_tools(name, tools or None)
    session.out.print(f"approved {', '.join(tools) or 'all tools'} of {name}", markup=False)


def _tell(session: Session, kept: Kept, as_json: bool) -> None:
    if as_json:
        print_json(kept.raw)
    else:
        session.out.print(f"kept {kept.name}, version {kept.version}", markup=False)


def _tools(definition: Any) -> str:
    subagents = [f"agent_{name}" for name in definition.get("subagents") or ()]
    return ", ".join([*(definition.get("tools") or ()), *subagents])


def _keys(keys: Any) -> str:
    return ", ".join(f"{label} …{ends}" if ends else label for label, ends in keys.items())


def _where(entry: Any) -> str:
    return render.line(str(entry.get("url") or entry.get("command") or json.dumps(entry)))


COMMANDS = (agents, providers, mcp_servers)
