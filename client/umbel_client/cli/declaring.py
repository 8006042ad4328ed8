"""Commands about what an account declares for itself: providers, mcp-servers."""

import json
from typing import Any

import click

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json
from umbel_client.cli.submitting import JsonInput

name_of = click.argument("name")
# From standard input by default: what is on a command line is in the shell's history and in every list of processes.
given = click.argument("given", type=JsonInput(), default="-", metavar="[@FILE|-]")


@click.group()
def providers() -> None:
    """Providers of models the account keeps, beside those of the server's settings."""


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


@providers.command("put")
@name_of
@given
@as_json
@pass_session
def put_provider(session: Session, name: str, given: dict[str, Any], as_json: bool) -> None:
    """Create or replace a provider, given as JSON in a file or on standard input."""
    with session.connect() as umbel:
        kept = umbel.put_provider(name, given)
    _tell(session, kept.name, kept.version, kept.raw, as_json)


@providers.command("remove")
@name_of
@pass_session
def remove_provider(session: Session, name: str) -> None:
    """Forget a provider and its keys."""
    with session.connect() as umbel:
        umbel.remove_provider(name)
    session.out.print(f"removed {name}", markup=False)


@click.group("mcp-servers")
def mcp_servers() -> None:
    """MCP servers the account keeps, beside those of the server's file."""


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


@mcp_servers.command("put")
@name_of
@given
@as_json
@pass_session
def put_server(session: Session, name: str, given: dict[str, Any], as_json: bool) -> None:
    """Create or replace a server, given as an entry of mcpServers JSON in a file or on standard input."""
    with session.connect() as umbel:
        kept = umbel.put_mcp_server(name, given)
    _tell(session, kept.name, kept.version, kept.raw, as_json)


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
        _tell(session, each.name, each.version, each.raw, as_json)


@mcp_servers.command("approve")
@name_of
@click.argument("tools", nargs=-1)
@pass_session
def approve_tools(session: Session, name: str, tools: tuple[str, ...]) -> None:
    """Approve changed TOOLS of a server, or all of them, as they are when they are seen next."""
    with session.connect() as umbel:
        umbel.approve_mcp_tools(name, tools or None)
    session.out.print(f"approved {', '.join(tools) or 'all tools'} of {name}", markup=False)


@mcp_servers.command("remove")
@name_of
@pass_session
def remove_server(session: Session, name: str) -> None:
    """Forget a server and its secrets."""
    with session.connect() as umbel:
        umbel.remove_mcp_server(name)
    session.out.print(f"removed {name}", markup=False)


def _tell(session: Session, name: str, version: int, raw: Any, as_json: bool) -> None:
    if as_json:
        print_json(raw)
    else:
        session.out.print(f"kept {name}, version {version}", markup=False)


def _keys(keys: Any) -> str:
    return ", ".join(f"{label} …{ends}" if ends else label for label, ends in keys.items())


def _where(entry: Any) -> str:
    return render.line(str(entry.get("url") or entry.get("command") or json.dumps(entry)))


COMMANDS = (providers, mcp_servers)
