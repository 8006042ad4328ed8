"""What a worker does for the index of passages when reminded: tells it what changed, and builds it where asked to."""

from functools import partial

from config.settings import Settings
from models.database import Database
from models.patterns import Consumer
from models.repositories import passages
from models.repositories import pattern_outbox as outbox
from worker.patterns.building import INDEXING, reminded, run
from worker.patterns.embedders.opening import name_of
from worker.patterns.feeding import drain
from worker.patterns.passages.building import PassageBuilder
from worker.patterns.passages.following import CLAIMED, PassageFollower
from worker.patterns.vectors.serving import is_wanted, opened


async def serve(settings: Settings, database: Database) -> int:
    """Bring the index up to date; returns how many changes it was told. What can't be done now waits.

    Raises:
        models.errors.Unavailable: PostgreSQL can't be reached.
    """
    wanted = partial(is_wanted, consumer=Consumer.PASSAGES, embedder=name_of(settings), count=passages.count)
    return await reminded(settings, database, wanted, _bring_up)


async def _bring_up(settings: Settings, database: Database) -> int:
    if not settings.recall:
        await run(database, lambda connection: outbox.discard(connection, INDEXING, Consumer.PASSAGES))
        return 0
    async with opened(settings, database) as (embedding, vectors):
        carried = await drain(database, PassageFollower(database, embedding, vectors), CLAIMED)
        await PassageBuilder(database, embedding, vectors).build()
        return carried
