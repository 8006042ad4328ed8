"""Deletes what has been kept long enough, and bytes nobody refers to. A Celery task of beat's, on the pool's threads.

Every blob goes in a transaction of its own that holds its row. PostgreSQL's foreign keys refuse to forget one that a
row refers to, and bytes are deleted only where their row could be.
"""

import logging
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from config.settings import get_settings
from models.blobs import BlobStore, open_store
from models.blobs.incoming import abandoned
from models.database import Database
from models.errors import BlobGone, NotFound, StoreUnavailable, Unavailable
from models.repositories import artifacts, files, holdings
from models.scope import RECONCILER, AccountScope
from tasks.celery import app
from tasks.maintenance import database

BATCH = 500
#: A file still on its way in after this long belongs to a process that died.
ABANDONED_S = 24 * 3600.0

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def store() -> BlobStore:
    """Return the process's blob store."""
    return open_store(get_settings())


@app.task(name="maintenance.collect", expires=3000, send_events=False)
def collect() -> int:
    """Delete old files and unneeded bytes; return how many blobs went."""
    settings = get_settings()
    try:
        expire_files(database(), settings.file_keep_days)
        expire_artifacts(database(), settings.artifact_keep_days)
        release_idle(database(), settings.blob_grace_s)
        return delete_garbage(database(), store())
    except Unavailable:
        log.warning("database unavailable, nothing collected")
        return 0
    finally:
        abandoned(store().incoming, ABANDONED_S)


def expire_files(record: Database, days: int) -> None:
    """Delete files kept for so many days; 0 keeps them for ever."""
    while days and (batch := record.run(lambda connection: files.old(connection, RECONCILER, days, BATCH))):
        for account_id, file_id in batch:
            _quietly(record, partial(files.delete, scope=AccountScope(account_id), file_id=file_id))


def _quietly(record: Database, delete: Callable[[Any], None]) -> None:
    try:
        record.run(delete)
    except NotFound:
        log.debug("deleted by its owner meanwhile")


def expire_artifacts(record: Database, days: int) -> None:
    """Delete artifacts without a new version for so many days; 0 keeps them for ever."""
    while days and (batch := record.run(lambda connection: artifacts.old(connection, RECONCILER, days, BATCH))):
        for account_id, artifact_id in batch:
            _quietly(record, partial(artifacts.delete, scope=AccountScope(account_id), artifact_id=artifact_id))


def release_idle(record: Database, grace_s: float) -> None:
    """Let go of bytes that were held and that no row has referred to for so long."""
    while batch := record.run(lambda connection: holdings.idle(connection, RECONCILER, grace_s, BATCH)):
        released = [_release(record, AccountScope(account_id), hashes, grace_s) for account_id, hashes in batch]
        if not any(released):  # all of them are needed again
            return


def _release(record: Database, scope: AccountScope, hashes: list[str], grace_s: float) -> int:
    return record.run(lambda connection: holdings.release(connection, scope, hashes, grace_s))


def delete_garbage(record: Database, blobs: BlobStore) -> int:
    """Delete blobs that no account holds; return how many."""
    gone = 0
    while batch := record.run(lambda connection: holdings.garbage(connection, RECONCILER, BATCH)):
        deleted = sum(_forget(record, blobs, sha256) for sha256 in batch)
        gone += deleted
        if not deleted:  # others are at them, or the store refuses: another time
            break
    return gone


def _forget(record: Database, blobs: BlobStore, sha256: str) -> bool:
    try:
        return record.run(lambda connection: holdings.forget(connection, RECONCILER, sha256, blobs.delete))
    except (BlobGone, StoreUnavailable) as error:
        log.warning("a blob was not deleted", extra={"sha256": sha256, "reason": error.code})
        return False
