"""MCP servers of accounts: each account has a pool of its own, of the servers its rows declare.

What accounts declare is kept within bounds: only public addresses are connected to, nothing is taken from the worker's
environment, and no program is started unless the operator allows it.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from config.known import remember
from config.settings import Settings
from models.errors import ModelError
from models.errors import Unavailable as DatabaseAway
from models.repositories import mcp_pins
from models.repositories.declared import DeclaredRow, Table
from models.scope import AccountScope
from models.sealed import opened
from models.secrets import SecretBox
from worker.mcp import errors
from worker.mcp.config import Server, parse_servers
from worker.mcp.pooling import Pool
from worker.rows import Rows
from worker.tools.egress import guard_of

if TYPE_CHECKING:
    from worker.store import Store

#: Accounts whose pools are kept; a pool without connections costs little.
POOLS_MAX = 1000
#: How often connections nobody uses are looked for, in seconds.
TIDY_EVERY_S = 60.0

T = TypeVar("T")
log = logging.getLogger(__name__)


class RowServers:
    """The servers of an account's rows, as they are now; a pool's source.

    Attributes:
        refused: why those are left out that can't be used, by name.
    """

    def __init__(self, rows: Rows, store: "Store", account_id: UUID, settings: Settings) -> None:
        self._rows = rows
        self._store = store
        self._account_id = account_id
        self._settings = settings
        self._wall = guard_of(settings)
        self.refused: dict[str, str] = {}
        self._known: dict[str, tuple[str, Server | None]] = {}

    async def __call__(self) -> Mapping[str, Server]:
        """Return the servers. One that can't be used is left out, and the log says why.

        Raises:
            Unavailable: PostgreSQL can't say.
        """
        try:
            rows = await self._rows.of(self._store, self._account_id)
        except DatabaseAway as error:
            raise errors.Unavailable(str(error)) from None
        self._known = {row.name: self._one(row) for row in rows}
        self.refused = {name: why for name, why in self.refused.items() if name in self._known}
        return {name: server for name, (_, server) in self._known.items() if server is not None}

    def _one(self, row: DeclaredRow) -> tuple[str, Server | None]:
        known = self._known.get(row.name)
        if known is not None and known[0] == row.digest:
            return known
        try:
            self.refused.pop(row.name, None)
            return row.digest, self._server(row)
        except (ModelError, errors.ServersRefused) as error:
            fields = {"account_id": str(self._account_id), "server": row.name, "reason": str(error)}
            log.warning("an mcp server of an account can't be used", extra=fields)
            self.refused[row.name] = str(error)
            return row.digest, None

    def _server(self, row: DeclaredRow) -> Server | None:
        box = SecretBox(self._settings.secret_keys)
        entry = row.declared | opened(box, Table.MCP_SERVERS, self._account_id, row)
        server = parse_servers({"mcpServers": {row.name: entry}}, {}, "row").get(row.name)
        if server is None:
            return None
        if server.command and not self._settings.mcp_row_commands:
            raise errors.ServersRefused("it is a command, and UMBEL_MCP_ROW_COMMANDS does not allow commands in rows")
        secrets = (*server.secrets, *_in_url(server.url or ""))
        for secret in secrets:
            remember(secret, self._account_id)
        return replace(server, wall=self._wall, secrets=secrets)


def _in_url(url: str) -> Iterator[str]:
    """What looks like a key in a URL: many servers take theirs in the path or the query."""
    parts = urlsplit(url)
    yield from (value for _, value in parse_qsl(parts.query) if len(value) >= 8)
    yield from (part for part in parts.path.split("/") if len(part) >= 16)


class RowPins:
    """Approvals kept in the rows of an account's servers."""

    def __init__(self, store: "Store", account_id: UUID) -> None:
        self._store = store
        self._scope = AccountScope(account_id)
        self._seen: dict[str, str] = {}

    async def load(self) -> Mapping[str, str]:
        """Return what is approved now, or was last while PostgreSQL is away."""
        try:
            found = await self._store.read(partial(_approved, scope=self._scope))
        except DatabaseAway:
            return self._seen
        self._seen = {f"{server}.{tool}": pinned for server, pins in found.items() for tool, pinned in pins.items()}
        return self._seen

    async def approve(self, hashes: Mapping[str, str], *, replace: bool = False) -> Mapping[str, str]:
        """Approve what has not been approved before.

        Raises:
            Unavailable: PostgreSQL can't keep it.
        """
        by_server: dict[str, dict[str, str]] = {}
        for name, pinned in hashes.items():
            server, _, tool = name.partition(".")
            by_server.setdefault(server, {})[tool] = pinned
        for server, pins in by_server.items():
            kept = await self._ask(partial(_approve, scope=self._scope, server=server, hashes=pins))
            self._seen = self._seen | {f"{server}.{tool}": pinned for tool, pinned in (pins | dict(kept)).items()}
        return self._seen

    async def _ask(self, operation: Callable[[Any], T]) -> T:
        try:
            return await self._store.read(operation)
        except DatabaseAway as error:
            raise errors.Unavailable(str(error)) from None

    def cure(self, name: str) -> str:
        """Return what approves a changed tool."""
        server, _, tool = name.partition(".")
        return f'POST /v1/mcp-servers/{server}/approve with {{"tools": ["{tool}"]}}'


def _approved(connection: Any, scope: AccountScope) -> dict[str, mcp_pins.Hashes]:
    return mcp_pins.approved(connection, scope)


def _approve(connection: Any, scope: AccountScope, server: str, hashes: mcp_pins.Hashes) -> mcp_pins.Hashes:
    return mcp_pins.approve(connection, scope, server, hashes)


class AccountPools:
    """The pools of accounts, on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rows = Rows(Table.MCP_SERVERS)
        self._pools: OrderedDict[UUID, tuple[Pool, RowServers]] = OrderedDict()
        self._tidied = time.monotonic()

    def of(self, store: "Store", account_id: UUID) -> tuple[Pool, RowServers]:
        """Return an account's pool, and where it has its servers from."""
        self._tidy()
        if account_id not in self._pools:
            source = RowServers(self._rows, store, account_id, self._settings)
            self._pools[account_id] = Pool(source, RowPins(store, account_id)), source
        self._pools.move_to_end(account_id)
        return self._pools[account_id]

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied < TIDY_EVERY_S:
            return
        self._tidied = time.monotonic()
        for pool, _ in self._pools.values():
            pool.rest()
        for account_id in [each for each, (pool, _) in self._pools.items() if not pool.health()]:
            if len(self._pools) > POOLS_MAX:
                del self._pools[account_id]

    def end_session(self, account_id: UUID, session: str) -> None:
        """Let go of what an account's stateful servers keep for a session."""
        if account_id in self._pools:
            self._pools[account_id][0].end_session(session)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(pool.close() for pool, _ in self._pools.values()))
