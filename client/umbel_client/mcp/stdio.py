"""The server over standard input and output, for one program and with one key."""

from umbel_client.config import Settings
from umbel_client.errors import Unauthorized
from umbel_client.mcp.api import Api


async def serve_stdio(settings: Settings) -> None:
    """Serve one client over standard input and output until it leaves.

    Raises Unauthorized if the key is not accepted, another UmbelError if the server can't say.
    """
    api = Api(settings.url)
    try:
        if not await api.accepts(settings.api_key):
            raise Unauthorized(401, {"detail": f"{settings.url} does not accept the key of the {settings.source}."})
        # Only now: the SDK takes seconds of CPU to load, for which whoever mistyped a key need not wait.
        from umbel_client.mcp.server import made

        await made(api, lambda _: settings.api_key).run_stdio_async()
    finally:
        await api.close()
