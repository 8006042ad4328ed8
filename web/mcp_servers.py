"""MCP servers an account keeps: their rules, and their secrets."""

import re
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from flask import g

from models.repositories import mcp_pins
from models.repositories.declared import DeclaredRow, Table
from models.repositories.mcp_pins import Hashes
from models.scope import AccountScope
from web import declaring
from web.errors import Invalid
from web.schemas.mcp_servers import PutMcpServer
from web.services import services

#: What of an entry is sealed: who may list servers need not know more of them.
SEALED = ("url", "headers", "env", "args")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}", re.ASCII)
_VALUE = re.compile(r"[\x20-\x7e\t]{0,4000}", re.ASCII)


def put(name: str, given: PutMcpServer, expected: int | None) -> dict[str, Any]:
    """Create or replace a server of the account that asks, and render it.

    Raises:
        Invalid: the entry can't be used; the field is named.
        models.errors.Conflict: there is another version.
    """
    check(given)
    row = declaring.keep(Table.MCP_SERVERS, name, expected, partial(_merged, given, ""))
    return server_json(row, _pins().get(name, {}))


def import_all(entries: dict[str, PutMcpServer]) -> list[dict[str, Any]]:
    """Create or replace all of a file's servers, or none, and render them. Raises as `put` does."""
    for name, given in entries.items():
        check(given, f"mcpServers.{name}.")
    rows = services().database.run(lambda connection: [_keep(connection, *each) for each in sorted(entries.items())])
    pins = _pins()
    return [server_json(row, pins.get(row.name, {})) for row in rows]


def _keep(connection: Any, name: str, given: PutMcpServer) -> DeclaredRow:
    merge = partial(_merged, given, f"mcpServers.{name}.")
    return declaring.keep_in(connection, Table.MCP_SERVERS, name, None, merge)


def check(given: PutMcpServer, under: str = "") -> None:
    """Refuse what a row may not declare.

    Raises:
        Invalid: a command, an address or a reference to the worker's environment.
    """
    if given.command is not None and not services().settings.mcp_row_commands:
        raise _wrong(f"{under}command", "a server kept here is reached by `url`; commands would run on the workers")
    if given.url is not None:
        declaring.check_address(given.url, f"{under}url")
    for place, values in (("headers", given.headers), ("env", given.env)):
        for key, value in values.items():
            _check_value(f"{under}{place}.{key}", key, value or "", header=place == "headers")


def _check_value(field: str, key: str, value: str, *, header: bool) -> None:
    if "${" in value:
        raise _wrong(field, "nothing is taken from the workers' environment here; give the value itself")
    if header and not (_HEADER.fullmatch(key) and _VALUE.fullmatch(value)):
        raise _wrong(field, "this can't be sent as a header")


def _merged(
    given: PutMcpServer, under: str, before: dict[str, Any], kept: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    entry = given.model_dump(mode="json", exclude_unset=True)
    if (_origin(entry), entry.get("command")) != (_origin(kept), before.get("command")):
        kept = {}  # whoever may change the address must not learn the secrets by it
    for place in ("headers", "env"):
        if place in entry:
            entry[place] = _filled(entry[place], kept.get(place, {}), under + place)
    secrets = {name: entry[name] for name in SEALED if entry.get(name)}
    return _shown(entry), secrets


def _filled(given: dict[str, str | None], kept: dict[str, str], field: str) -> dict[str, str]:
    if missing := [name for name, value in given.items() if value is None and name not in kept]:
        raise _wrong(f"{field}.{missing[0]}", "no value is kept under this name for this address; give it")
    return {name: kept[name] if value is None else value for name, value in given.items()}


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry without its secrets: of a URL the host, of arguments how many."""
    shown = {name: value for name, value in entry.items() if name not in SEALED}
    if entry.get("url"):
        origin = _origin(entry)  # keys are found in paths and queries
        shown["url"] = origin if entry["url"].rstrip("/") == origin else f"{origin}/…"
    if entry.get("args"):
        shown["args"] = len(entry["args"])
    for place in ("headers", "env"):
        if entry.get(place):
            shown[place] = {name: declaring.last_four(value) for name, value in entry[place].items()}
    return shown


def _origin(entry: dict[str, Any]) -> str:
    return urlunsplit((*urlsplit(entry.get("url") or "")[:2], "", "", ""))


def approve(name: str, tools: list[str] | None) -> dict[str, Any]:
    """Have tools approved anew as they are when they are seen next. Raises models.errors.NotFound."""
    scope: AccountScope = g.scope
    pins = services().database.run(lambda connection: mcp_pins.forget(connection, scope, name, tools))
    return server_json(declaring.read(Table.MCP_SERVERS, name), pins)


def read(name: str) -> dict[str, Any]:
    """Return a server of the account that asks, rendered. Raises models.errors.NotFound."""
    return server_json(declaring.read(Table.MCP_SERVERS, name), _pins().get(name, {}))


def page(after: str, limit: int) -> dict[str, Any]:
    """Return the shape of `web.schemas.mcp_servers.McpServerList`."""
    rows, more = declaring.page(Table.MCP_SERVERS, after, limit)
    pins = _pins()
    return {"servers": [server_json(row, pins.get(row.name, {})) for row in rows], "next": more}


def _pins() -> dict[str, Hashes]:
    scope: AccountScope = g.scope
    return services().database.read(lambda connection: mcp_pins.approved(connection, scope))


def _wrong(field: str, message: str) -> Invalid:
    return Invalid("The server can't be used.", [{"field": field, "message": message}])


def server_json(row: DeclaredRow, pins: Hashes) -> dict[str, Any]:
    """Render a row in the shape of `web.schemas.mcp_servers.McpServer`."""
    about = {"name": row.name, "version": row.version, "created_at": row.created_at, "updated_at": row.updated_at}
    return {**about, "entry": row.declared, "approved": sorted(pins)}
