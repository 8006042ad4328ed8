"""The tools of a server as it lists them, and the hash each is approved by."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from mcp import Client
from mcp_types import Tool

from worker.mcp.pins import fingerprint

#: A server that lists more is cut off: no model is helped by it.
TOOLS_MAX = 5000
PAGES_MAX = 200
#: Characters of a description that are told to a model.
DESCRIPTION_MAX = 4000


@dataclass(frozen=True, slots=True)
class Listed:
    """One tool of a server.

    Attributes:
        name: as the server knows it.
        description: what is told of it.
        schema: JSON schema of its arguments.
        hash: changes with any of these.
    """

    name: str
    description: str
    schema: dict[str, Any] = field(hash=False)
    hash: str


async def listed(client: Client) -> dict[str, Listed]:
    """Ask a server for all its tools, in order of name; the first of two of the same name counts."""
    found: dict[str, Listed] = {}
    async for tool in _tools(client):
        found.setdefault(tool.name, _one(tool))
        if len(found) >= TOOLS_MAX:
            break
    return dict(sorted(found.items()))


async def _tools(client: Client) -> AsyncIterator[Tool]:
    if client.server_capabilities.tools is None:
        return
    cursor: str | None = None
    for _ in range(PAGES_MAX):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            yield tool
        if not page.next_cursor or page.next_cursor == cursor:
            return
        cursor = page.next_cursor


def _one(tool: Tool) -> Listed:
    description = (tool.description or "").strip()
    # The hash is of all the server said: what is beyond the cut may not change unnoticed either.
    return Listed(
        tool.name,
        description[:DESCRIPTION_MAX],
        tool.input_schema,
        fingerprint(tool.name, tool.description, tool.input_schema),
    )
