"""Tools of MCP servers, over connections that a worker process shares between its runs.

    from worker import mcp

    answer = await mcp.pool().call("time", "get_current_time", {"timezone": "UTC"}, idempotency_key=key)

Importing this package loads no client; the first call of `pool` does.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID
from weakref import WeakKeyDictionary

from config.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.mcp.accounts import AccountPools
    from worker.mcp.config import Server
    from worker.mcp.joint import Joint
    from worker.mcp.pooling import Pool
    from worker.store import Store

_pools: "WeakKeyDictionary[asyncio.AbstractEventLoop, Pool]" = WeakKeyDictionary()
_accounts: "WeakKeyDictionary[asyncio.AbstractEventLoop, AccountPools]" = WeakKeyDictionary()


def pool() -> "Pool":
    """Return the running loop's pool, of the servers in the file `UMBEL_MCP_SERVERS` names."""
    loop = asyncio.get_running_loop()
    if loop not in _pools:
        _pools[loop] = _built(get_settings().mcp_servers)
    return _pools[loop]


async def pool_of(store: "Store", account_id: UUID) -> "Joint":
    """Return what an account's runs may use: the servers of its rows, then those of the file.

    Raises:
        worker.mcp.errors.Unavailable: PostgreSQL can't say which servers the account has.
    """
    from worker.mcp.accounts import AccountPools
    from worker.mcp.joint import Joint

    loop = asyncio.get_running_loop()
    if loop not in _accounts:
        _accounts[loop] = AccountPools(get_settings())
    own, rows = _accounts[loop].of(store, account_id)
    return Joint(own, pool(), await own.names(), dict(rows.refused))


def end_session(account_id: UUID, session: str) -> None:
    """Let go of what stateful servers keep for a session of the account."""
    loop = asyncio.get_running_loop()
    if loop in _pools:
        _pools[loop].end_session(session)
    if loop in _accounts:
        _accounts[loop].end_session(account_id, session)


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
    loop = asyncio.get_running_loop()
    for found in (_accounts.pop(loop, None), _pools.pop(loop, None)):
        if found is not None:
            await found.close()
