"""Tools of MCP servers, over connections that a worker process shares between its runs.

    from worker import mcp

    answer = await mcp.pool().call("time", "get_current_time", {"timezone": "UTC"}, idempotency_key=key)

Importing this package loads no client; the first call of `pool` does.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from config.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.mcp.config import Server
    from worker.mcp.pooling import Pool

_pools: "WeakKeyDictionary[asyncio.AbstractEventLoop, Pool]" = WeakKeyDictionary()


def pool() -> "Pool":
    """Return the running loop's pool, of the servers in the file `UMBEL_MCP_SERVERS` names."""
    loop = asyncio.get_running_loop()
    if loop not in _pools:
        _pools[loop] = _built(get_settings().mcp_servers)
    return _pools[loop]


def _built(file: str) -> "Pool":
    from worker.mcp.pooling import Pool
    from worker.mcp.source import ServersFile, pins_beside

    if not file:
        return Pool(_none)
    return Pool(ServersFile(Path(file)), pins_beside(Path(file)))


async def _none() -> "Mapping[str, Server]":
    return {}


async def close() -> None:
    """Close the running loop's connections and stop the servers it started."""
    found = _pools.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()
