"""What a worker does for the index of passages when reminded: tells it what changed, and builds it where asked to."""

import asyncio
from functools import partial
from importlib import import_module
from typing import Any

from config.settings import Settings
from models.database import Database
from models.indexing import BuildState
from models.patterns import Consumer
from models.repositories import index_builds, passages
from models.repositories import pattern_outbox as outbox
from worker.patterns.building import INDEXING, reminded, run
from worker.patterns.embedders.opening import name_of, open_embedding
from worker.patterns.embedders.served import LazyGateway
from worker.patterns.feeding import drain
from worker.patterns.passages.building import PassageBuilder
from worker.patterns.passages.following import CLAIMED, PassageFollower
from worker.patterns.vectors.opening import open_vectors


async def serve(settings: Settings, database: Database) -> int:
    """Bring the index up to date; returns how many changes it was told. What can't be done now waits.

    Raises:
        models.errors.Unavailable: PostgreSQL can't be reached.
    """
    return await reminded(settings, database, partial(_wanted, embedder=name_of(settings)), _bring_up)


async def _bring_up(settings: Settings, database: Database) -> int:
    if not settings.recall:
        await run(database, lambda connection: outbox.discard(connection, INDEXING, Consumer.PASSAGES))
        return 0
    embedding = await asyncio.to_thread(open_embedding, settings, LazyGateway())
    if settings.qdrant_url:  # seconds of CPU, not on the loop
        await asyncio.to_thread(import_module, "worker.patterns.vectors.qdrant")
    vectors = open_vectors(settings, database)
    try:
        carried = await drain(database, PassageFollower(database, embedding, vectors), CLAIMED)
        await PassageBuilder(database, embedding, vectors).build()
        return carried
    finally:
        await embedding.close()
        await vectors.close()


def _wanted(connection: Any, embedder: str) -> bool:
    """Whether there is anything to do. An index by another embedder than the settings name is built anew."""
    newest = index_builds.newest(connection, INDEXING).get(Consumer.PASSAGES)
    outdated = newest and newest.state == BuildState.DONE and newest.embedder != embedder
    if outdated and passages.count(connection, INDEXING):
        index_builds.ask(connection, INDEXING, Consumer.PASSAGES)
        return True
    if newest and newest.state in (BuildState.QUEUED, BuildState.RUNNING):
        return True
    return Consumer.PASSAGES in outbox.waiting(connection, INDEXING)
