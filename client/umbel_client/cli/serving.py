"""`umbel mcp`."""

import asyncio
from importlib.util import find_spec

import click

from umbel_client.cli.base import Session, pass_session
from umbel_client.config import find_url, load_settings
from umbel_client.errors import ConfigurationMissing

NEEDED = ("mcp", "aiohttp", "uvicorn")


@click.command()
@click.option("--stdio", is_flag=True, help="Serve one program over standard input and output, with this key.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="Port to listen at.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name it may be called by; repeatable.")
@click.option("--allow-origin", "origins", multiple=True, metavar="URL", help="A web page's origin; repeatable.")
@pass_session
def mcp(session: Session, stdio: bool, host: str, port: int, hosts: tuple[str, ...], origins: tuple[str, ...]) -> None:
    """Serve Umbel as an MCP server: over HTTP, where each caller shows a key of their own, or with --stdio."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ConfigurationMissing(
            f"Serving MCP needs {', '.join(missing)}. Install them: pip install 'umbel-client[mcp]'."
        )
    # Loaded now: seconds that no other command needs.
    if stdio:
        from umbel_client.mcp.stdio import serve_stdio

        asyncio.run(serve_stdio(load_settings(session.url, env_file=session.env_file)))
    else:
        from umbel_client.mcp.server import serve_http

        asyncio.run(serve_http(find_url(session.url, session.env_file), host, port, hosts, origins))


COMMANDS = (mcp,)
