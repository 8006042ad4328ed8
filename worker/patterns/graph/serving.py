"""What a worker does for the graph when reminded: tells its store what changed, and builds it anew where asked to."""

import asyncio
from functools import partial
from importlib import import_module
from typing import Any

from config.settings import Settings
from models.database import Database
from models.indexing import BuildState
from models.patterns import Consumer
from models.repositories import index_builds
from models.repositories import pattern_outbox as outbox
from worker.patterns.building import INDEXING, Building, build, reminded, run
from worker.patterns.feeding import drain
from worker.patterns.graph.base import GraphStore
from worker.patterns.graph.following import GraphFollower, reindex
from worker.patterns.graph.opening import open_graph


async def serve(settings: Settings, database: Database) -> int:
    """Bring the graph up to date; returns how many changes its store was told. What can't be done now waits.

    Raises:
        models.errors.Unavailable: PostgreSQL can't be reached.
    """
    return await reminded(settings, database, partial(_wanted, apart=bool(settings.neo4j_url)), _bring_up)


def _wanted(connection: Any, apart: bool) -> bool:
    """Whether there is anything to do. A store apart from the record that was never built is."""
    newest = index_builds.newest(connection, INDEXING).get(Consumer.GRAPH)
    if newest and newest.state in (BuildState.QUEUED, BuildState.RUNNING):
        return True
    return (apart and newest is None) or Consumer.GRAPH in outbox.waiting(connection, INDEXING)


async def _bring_up(settings: Settings, database: Database) -> int:
    if settings.neo4j_url:  # half a second of CPU, not on the loop
        await asyncio.to_thread(import_module, "worker.patterns.graph.neo4j")
    store = open_graph(settings, database)
    try:
        return await bring_up(database, store)
    finally:
        await store.close()


async def bring_up(database: Database, store: GraphStore) -> int:
    """Tell a store what changed, and build it where that was asked for, or where it never was.

    Returns:
        How many changes it was told.

    Raises:
        GraphError: the store can't be used.
    """
    if store.is_record:
        await run(database, lambda connection: outbox.discard(connection, INDEXING, Consumer.GRAPH))
    elif not await store.is_whole():
        await store.prepare()
        await run(database, lambda connection: index_builds.ask(connection, INDEXING, Consumer.GRAPH))
    carried = await drain(database, GraphFollower(database, store))
    await build(database, Consumer.GRAPH, store.name, partial(_fill, database=database, store=store))
    return carried


async def _fill(building: Building, database: Database, store: GraphStore) -> None:
    said = (0, 0)

    def say(done: int, total: int) -> None:
        nonlocal said
        said = done, total
        building.say(done, total)

    await reindex(database, store, say)
    await building.tell(*said)
