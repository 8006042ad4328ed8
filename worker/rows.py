"""What accounts declare in rows, as a worker process sees it: read when a run needs it, remembered for seconds."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from models.errors import Unavailable
from models.repositories import declared
from models.repositories.declared import DeclaredRow, Table
from models.scope import AccountScope

if TYPE_CHECKING:
    from worker.store import Store

#: A changed row is seen within this.
FRESH_S = 2.0
#: Accounts remembered; the one longest unused is forgotten first.
ACCOUNTS_MAX = 1000


@dataclass(slots=True)
class _Seen:
    rows: Sequence[DeclaredRow]
    until: float


class Rows:
    """The rows of one table, by account."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._seen: OrderedDict[UUID, _Seen] = OrderedDict()
        self._reading: dict[UUID, asyncio.Task[Sequence[DeclaredRow]]] = {}

    async def of(self, store: "Store", account_id: UUID) -> Sequence[DeclaredRow]:
        """Return an account's rows in order of name, at most `FRESH_S` old while PostgreSQL answers.

        Raises:
            models.errors.Unavailable: PostgreSQL can't say, and never has.
        """
        seen = self._seen.get(account_id)
        if seen is not None and seen.until > time.monotonic():
            self._seen.move_to_end(account_id)
            return seen.rows
        try:
            rows = await self._read(store, account_id)
        except Unavailable:
            if seen is None:
                raise
            rows = seen.rows
        self._remember(account_id, rows)
        return rows

    async def _read(self, store: "Store", account_id: UUID) -> Sequence[DeclaredRow]:
        """Read; many runs of an account that begin together ask once."""
        reading = self._reading.get(account_id)
        if reading is None or reading.get_loop() is not asyncio.get_running_loop():
            reading = asyncio.create_task(store.read(partial(_rows, scope=AccountScope(account_id), table=self.table)))
            self._reading[account_id] = reading
            reading.add_done_callback(partial(self._done, account_id))
        return await asyncio.shield(reading)

    def _done(self, account_id: UUID, reading: "asyncio.Task[Sequence[DeclaredRow]]") -> None:
        if self._reading.get(account_id) is reading:
            del self._reading[account_id]
        if not reading.cancelled():
            reading.exception()  # looked at, though everybody who waited may have left

    def _remember(self, account_id: UUID, rows: Sequence[DeclaredRow]) -> None:
        self._seen[account_id] = _Seen(rows, time.monotonic() + FRESH_S)
        self._seen.move_to_end(account_id)
        if len(self._seen) > ACCOUNTS_MAX:
            self._seen.popitem(last=False)


def _rows(connection: Any, scope: AccountScope, table: Table) -> Sequence[DeclaredRow]:
    return declared.list_rows(connection, scope, table)
