"""Where the stack's own parts are reached."""

from __future__ import annotations

from config.settings import Settings


def web_url(settings: Settings) -> str:
    """Where this machine reaches the front; a wildcard address is reached over loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.web_host, settings.web_host)  # noqa: S104
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{settings.web_port}"


def mcp_url(settings: Settings) -> str:
    """Where this machine reaches the MCP server."""
    return f"http://127.0.0.1:{settings.mcp_port}/mcp"
