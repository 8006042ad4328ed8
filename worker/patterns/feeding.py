"""Tells an index of what changed in the record: claims entries of the outbox, has them carried out, and forgets them.

An index that can't be used now costs nobody anything: its entries stay, and are claimed again a little later.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

from models.database import Database
from models.patterns import Consumer
from models.repositories import pattern_outbox as outbox
from models.scope import AccountScope, SystemScope
from worker.errors import WorkerError

T = TypeVar("T")

FEEDING = SystemScope("feeding")
BATCH = 500
#: Wait before an entry is tried again, times how often it failed already, and the longest such wait.
AGAIN_S, AGAIN_MAX_S = 5.0, 300.0

log = logging.getLogger(__name__)


class Follower(Protocol):
    """An index that follows the record."""

    consumer: Consumer

    async def follow(self, scope: AccountScope, entries: Sequence[outbox.Entry]) -> None:
        """Make the index say what the record now says of these rows; may be repeated.

        Raises:
            WorkerError: it could not; the entries are kept.
        """


async def drain(database: Database, follower: Follower, limit: int = BATCH) -> int:
    """Carry out what waits for an index, until nothing does or it fails; returns how many entries were carried out."""
    carried = 0
    while entries := await _off_loop(database, partial(outbox.claim, consumer=follower.consumer, limit=limit)):
        by_account: defaultdict[UUID, list[outbox.Entry]] = defaultdict(list)
        for entry in entries:
            by_account[entry.account_id].append(entry)
        each = [await _carry_out(database, follower, AccountScope(id), of) for id, of in by_account.items()]
        carried += sum(each)
        if 0 in each:
            break
    return carried


async def _carry_out(
    database: Database, follower: Follower, scope: AccountScope, entries: Sequence[outbox.Entry]
) -> int:
    """Carry out one account's entries and return how many that were, or 0 where it failed."""
    try:
        await follower.follow(scope, entries)
    except WorkerError as error:
        log.warning("an index does not follow", extra={"index": follower.consumer, "reason": error.code})
        again_s = min(AGAIN_S * max(entry.attempts for entry in entries), AGAIN_MAX_S)
        ids = [entry.id for entry in entries]
        failed = partial(outbox.failed, consumer=follower.consumer, ids=ids, error=error.code, again_s=again_s)
        await _off_loop(database, failed)
        return 0
    await _off_loop(database, partial(outbox.done, consumer=follower.consumer, entries=entries))
    return len(entries)


async def _off_loop(database: Database, work: Callable[..., T]) -> T:
    def run(connection: Any) -> T:
        return work(connection, FEEDING)

    return await asyncio.to_thread(database.run, run)
