"""Bytes and the row that needs them, brought together in the right order; see `models/repositories/holdings.py`."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from sqlalchemy import Connection

from config.settings import Settings
from models.blobs import BlobStore, Received
from models.database import Database
from models.errors import BlobGone, ModelError
from models.repositories import holdings
from models.repositories.holdings import Content, Limits
from models.scope import AccountScope

T = TypeVar("T")
#: How often a row is tried again whose bytes were collected just before it was written.
TRIES = 3


def limits_of(settings: Settings) -> Limits:
    """Return what an account may keep."""
    return Limits(settings.storage_max_bytes, settings.storage_max_files)


class Keeper:
    """Keeps bytes for accounts. It blocks: not for use on an event loop."""

    def __init__(self, database: Database, store: BlobStore, limits: Limits) -> None:
        self._database = database
        self._store = store
        self.limits = limits

    def secure(self, scope: AccountScope, received: list[Received]) -> None:
        """Hold bytes and put them into the store; now a row may refer to them.

        Raises:
            QuotaReached: the account would keep more than it may.
            StoreUnavailable: the store can't take them now.
        """
        contents = [Content(each.sha256, each.size) for each in received]
        self._database.run(lambda connection: holdings.hold(connection, scope, contents, self.limits))
        for each in received:
            self._store.put(each)

    def keep(self, scope: AccountScope, received: list[Received], refer: Callable[[Connection], T]) -> T:
        """Secure bytes and write the row that refers to them; return what `refer` does, after the commit.

        Raises:
            QuotaReached, StoreUnavailable: as for `secure`.
            BlobGone: time and again someone collected them in between.
            Exception: whatever `refer` raises; the account holds nothing more for it then.
        """
        for _ in range(TRIES - 1):
            with suppress(BlobGone):
                return self._keep(scope, received, refer)
        return self._keep(scope, received, refer)

    def _keep(self, scope: AccountScope, received: list[Received], refer: Callable[[Connection], T]) -> T:
        try:
            self.secure(scope, received)
            return self._database.run(refer)
        except BlobGone:
            raise
        except Exception:  # in vain: not for nothing should it count until it is collected
            hashes = [each.sha256 for each in received]
            with suppress(ModelError):
                self._database.run(lambda connection: holdings.release(connection, scope, hashes))
            raise
