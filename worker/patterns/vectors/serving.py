"""What a worker does for the index of vectors when reminded: tells it what changed, and builds it where asked to."""

import asyncio
from functools import partial
from importlib import import_module
from typing import Any

from config.settings import Settings
from models.database import Database
from models.indexing import BuildState
from models.patterns import Consumer
from models.repositories import index_builds, patterns
from models.repositories import pattern_outbox as outbox
from worker.patterns.building import INDEXING, reminded
from worker.patterns.embedders.opening import name_of, open_embedding
from worker.patterns.embedders.served import LazyGateway
from worker.patterns.feeding import drain
from worker.patterns.vectors.building import Builder
from worker.patterns.vectors.following import VectorFollower
from worker.patterns.vectors.opening import open_vectors


async def serve(settings: Settings, database: Database) -> int:
    """Bring the index up to date; returns how many changes it was told. What can't be done now waits.

    Raises:
        models.errors.Unavailable: PostgreSQL can't be reached.
    """
    return await reminded(settings, database, partial(_wanted, embedder=name_of(settings)), _bring_up)


async def _bring_up(settings: Settings, database: Database) -> int:
    embedding = await asyncio.to_thread(open_embedding, settings, LazyGateway())
    if settings.qdrant_url:  # seconds of CPU, not on the loop
        await asyncio.to_thread(import_module, "worker.patterns.vectors.qdrant")
    vectors = open_vectors(settings, database)
    try:
        carried = await drain(database, VectorFollower(database, embedding, vectors))
        await Builder(database, embedding, vectors).build()
        return carried
    finally:
        await embedding.close()
        await vectors.close()


def _wanted(connection: Any, embedder: str) -> bool:
    """Whether there is anything to do. An index by another embedder than the settings name is built anew."""
    newest = index_builds.newest(connection, INDEXING).get(Consumer.VECTORS)
    outdated = newest and newest.state == BuildState.DONE and newest.embedder != embedder
    if outdated and patterns.count(connection, INDEXING):
        index_builds.ask(connection, INDEXING, Consumer.VECTORS)
        return True
    if newest and newest.state in (BuildState.QUEUED, BuildState.RUNNING):
        return True
    return Consumer.VECTORS in outbox.waiting(connection, INDEXING)
