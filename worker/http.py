"""One shared HTTP client per loop. aiohttp, because plain httpx collapses at 500 calls in flight."""

import asyncio
from weakref import WeakKeyDictionary

import aiohttp

_sessions: "WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession]" = WeakKeyDictionary()


def session() -> aiohttp.ClientSession:
    """Return the running loop's client: no cookies, no proxies from the environment, no limit on connections."""
    loop = asyncio.get_running_loop()
    if loop not in _sessions or _sessions[loop].closed:
        _sessions[loop] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
        )
    return _sessions[loop]


async def close() -> None:
    """Close the running loop's client."""
    found = _sessions.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()
