"""What one process holds: its doors to PostgreSQL and Redis."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import cast

from flask import current_app

from config.settings import Settings
from models.blobs import BlobStore, open_store
from models.database import Database, connect
from models.keeping import Keeper, limits_of
from web.auth import KeyRing
from web.blobs import cooperative
from web.desk import Desk
from web.notices import Notices
from web.readiness import Readiness
from web.stream import Hub, Reader
from web.stream.source import Source

EXTENSION = "umbel"


@dataclass(frozen=True, slots=True)
class Services:
    """Made once per application; views reach them through :func:`services`."""

    settings: Settings
    database: Database
    keys: KeyRing
    hub: Hub
    source: Source
    readiness: Readiness
    notices: Notices
    blobs: BlobStore
    desk: Desk

    @property
    def keeper(self) -> Keeper:
        """Keeps bytes for accounts."""
        return Keeper(self.database, self.blobs, limits_of(self.settings))

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Hold a place for a long connection and read with it.

        Raises:
            models.errors.NoFreePlace: the process has no place left.
        """
        with self.hub.place() as mailbox, closing(Reader(self.hub, self.source, mailbox)) as reader:
            yield reader

    def close(self) -> None:
        """End all streams and close all connections."""
        self.hub.close()
        self.source.close()
        self.notices.close()
        self.desk.close()
        self.database.close()


def open_services(settings: Settings) -> Services:
    """Make the process's services; connects to nothing yet."""
    database = connect(settings, application="umbel-web")
    return Services(
        settings=settings,
        database=database,
        keys=KeyRing(settings, database),
        hub=Hub(settings, database),
        source=Source(settings, database),
        readiness=Readiness(settings, database),
        notices=Notices(settings),
        blobs=cooperative(open_store(settings)),
        desk=Desk(settings),
    )


def services() -> Services:
    """Return the services of the application handling this request."""
    return cast(Services, current_app.extensions[EXTENSION])
