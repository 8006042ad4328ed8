"""MCP servers an account keeps: what is put, and what is answered."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from web.schemas.common import Strict
from worker.mcp.config import NAME, Entry


class ServerPath(BaseModel):
    """Which server."""

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$", description="1 to 48 letters, digits, `-` and `_`.")]


class PutMcpServer(Entry):
    """One entry of `mcpServers` JSON. A header or variable that is null stays as it is."""

    headers: dict[str, str | None] = Field({}, max_length=50)  # type: ignore[assignment]  # null: what is kept
    env: dict[str, str | None] = Field({}, max_length=50)  # type: ignore[assignment]


class ImportMcpServers(BaseModel):
    """A whole file as every client writes it; other keys beside `mcpServers` are ignored."""

    mcpServers: dict[Annotated[str, Field(pattern=f"^{NAME.pattern}$")], PutMcpServer] = Field(  # noqa: N815 - the format's own name
        min_length=1, max_length=100
    )


class ApproveTools(Strict):
    """Which tools."""

    tools: list[str] | None = Field(None, max_length=1000, description="Their names; without it all of the server.")


class McpServer(BaseModel):
    """An MCP server of the account."""

    name: str
    version: int = Field(description="Counts its changes, from 1.")
    entry: dict[str, Any] = Field(description="As it was put, but secrets are shown by their last four characters.")
    approved: list[str] = Field(description="Tools that are used as long as they stay as they were first seen.")
    created_at: datetime
    updated_at: datetime


class McpServerList(BaseModel):
    """Servers in order of name."""

    servers: list[McpServer]
    next: str | None


class ImportedMcpServers(BaseModel):
    """The servers of a file, all of them kept."""

    servers: list[McpServer]
