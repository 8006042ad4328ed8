"""MCP servers an account keeps. Headers and variables go in and never come out."""

from typing import Any

from flask_openapi3.models.tag import Tag

from models.repositories.declared import Table
from web import declaring, mcp_servers
from web.binding import Api
from web.schemas.common import Problem
from web.schemas.mcp_servers import (
    ApproveTools,
    ImportedMcpServers,
    ImportMcpServers,
    McpServer,
    McpServerList,
    PutMcpServer,
    ServerPath,
)
from web.schemas.providers import ListDeclared, PutDeclaredQuery

api = Api("mcp_servers", __name__, url_prefix="/v1", abp_tags=[Tag(name="mcp servers")])


@api.put("/mcp-servers/<name>", summary="Create or replace an MCP server", responses={200: McpServer, 409: Problem})
def put_server(path: ServerPath, query: PutDeclaredQuery, body: PutMcpServer) -> dict[str, Any]:
    """Workers see it within seconds; calls under way on what was replaced end first."""
    return mcp_servers.put(path.name, body, query.version)


@api.get("/mcp-servers/<name>", summary="Get an MCP server", responses={200: McpServer, 404: Problem})
def get_server(path: ServerPath) -> dict[str, Any]:
    """Secrets are shown by their last four characters."""
    return mcp_servers.read(path.name)


@api.get("/mcp-servers", summary="List the account's MCP servers", responses={200: McpServerList})
def list_servers(query: ListDeclared) -> dict[str, Any]:
    """In order of name; `next` leads to the next page."""
    return mcp_servers.page(query.after, query.limit)


@api.delete("/mcp-servers/<name>", summary="Delete an MCP server", responses={204: None, 404: Problem})
def delete_server(path: ServerPath) -> tuple[str, int]:
    """And its secrets and approvals with it."""
    declaring.forget(Table.MCP_SERVERS, path.name)
    return "", 204


@api.post("/mcp-servers/import", summary="Import an mcpServers file", responses={200: ImportedMcpServers, 422: Problem})
def import_servers(body: ImportMcpServers) -> dict[str, Any]:
    """All of its servers, or none; others of the account stay."""
    return {"servers": mcp_servers.import_all(body.mcpServers)}


@api.post("/mcp-servers/<name>/approve", summary="Approve changed tools", responses={200: McpServer, 404: Problem})
def approve_tools(path: ServerPath, body: ApproveTools) -> dict[str, Any]:
    """They are approved as they are when a worker sees them next."""
    return mcp_servers.approve(path.name, body.tools)
