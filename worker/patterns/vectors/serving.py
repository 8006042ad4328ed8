"""What a worker does for the index of vectors when reminded: tells it what changed, and builds it where asked to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any

from config.settings import Settings
from models.database import Database
from models.indexing import BuildState
from models.patterns import Consumer
from models.repositories import index_builds, patterns
from models.repositories import pattern_outbox as outbox
from models.scope import SystemScope
from worker.patterns.building import INDEXING, reminded
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.embedders.opening import name_of, open_embedding
from worker.patterns.embedders.served import LazyGateway
from worker.patterns.feeding import drain
from worker.patterns.vectors.building import Builder
from worker.patterns.vectors.following import VectorFollower
from worker.patterns.vectors.index import Vectors
from worker.patterns.vectors.opening import open_vectors


async def serve(settings: Settings, database: Database) -> int:
    """Bring the index up to date; returns how many changes it was told. What can't be done now waits.

    Raises:
        models.errors.Unavailable: PostgreSQL can't be reached.
    """
    wanted = partial(is_wanted, consumer=Consumer.VECTORS, embedder=name_of(settings), count=patterns.count)
    return await reminded(settings, database, wanted, _bring_up)


async def _bring_up(settings: Settings, database: Database) -> int:
    async with opened(settings, database) as (embedding, vectors):
        carried = await drain(database, VectorFollower(database, embedding, vectors))
        await Builder(database, embedding, vectors).build()
        return carried


@asynccontextmanager
async def opened(settings: Settings, database: Database) -> AsyncIterator[tuple[Embedding, Vectors]]:
    """The embedder and the index the settings name."""
    embedding = await asyncio.to_thread(open_embedding, settings, LazyGateway())
    if settings.qdrant_url:  # seconds of CPU, not on the loop
        await asyncio.to_thread(import_module, "worker.patterns.vectors.qdrant")
    vectors = open_vectors(settings, database)
    try:
        yield embedding, vectors
    finally:
        await embedding.close()
        await vectors.close()


def is_wanted(connection: Any, consumer: Consumer, embedder: str, count: Callable[[Any, SystemScope], int]) -> bool:
    """Whether there is anything to do for an index of vectors; one by another embedder is built anew.

    Args:
        connection: to the record.
        consumer: whose index.
        embedder: what the settings name.
        count: counts what would be indexed.
    """
    newest = index_builds.newest(connection, INDEXING).get(consumer)
    outdated = newest and newest.state == BuildState.DONE and newest.embedder != embedder
    if outdated and count(connection, INDEXING):
        index_builds.ask(connection, INDEXING, consumer)
        return True
    if newest and newest.state in (BuildState.QUEUED, BuildState.RUNNING):
        return True
    return consumer in outbox.waiting(connection, INDEXING)
