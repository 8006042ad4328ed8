"""Does it answer yet?"""

from __future__ import annotations

import base64
import urllib.error
import urllib.request

from config.settings import Settings
from local.urls import mcp_url, web_url


def web_ready(settings: Settings) -> bool:
    """Whether the front says that everything it needs is there."""
    return _status(f"{web_url(settings)}/readyz") == 200


def flower_answers(settings: Settings, login: str) -> bool:
    """Whether Flower lets `login` (`user:password`) in."""
    token = base64.b64encode(login.encode()).decode()
    return _status(f"http://127.0.0.1:{settings.flower_port}/", {"Authorization": f"Basic {token}"}) == 200


def mcp_answers(settings: Settings) -> bool:
    """Whether the MCP server is there."""
    return _status(mcp_url(settings).removesuffix("/mcp") + "/healthz") == 200


def _status(url: str, headers: dict[str, str] | None = None) -> int:
    """The HTTP status of `url`, 0 if nobody answers. Proxies of the environment are not for loopback."""
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - our own http:// URL
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
