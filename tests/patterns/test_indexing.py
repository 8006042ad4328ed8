"""The index of vectors follows the record, and is built anew from it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, text

from config.settings import Settings
from models.base import new_id
from models.database import Database
from models.indexing import BuildState
from models.patterns import Consumer, PatternKind
from models.repositories import accounts, index_builds, pattern_outbox, patterns, tasks
from models.scope import OPERATIONS, AccountScope
from tasks import indexing
from worker.patterns import bank, feeding
from worker.patterns.building import INDEXING
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.embedders.lexical import LexicalEmbedder
from worker.patterns.vectors import building, serving
from worker.patterns.vectors.building import Builder
from worker.patterns.vectors.errors import VectorIndexMissing, VectorStoreUnavailable
from worker.patterns.vectors.following import VectorFollower, text_of
from worker.patterns.vectors.index import Vectors
from worker.patterns.vectors.pgvector import PgvectorStore

Run = Callable[..., Any]


class TestEmbedder(LexicalEmbedder):
    """Words, in a space of this test alone."""

    __test__ = False

    def __init__(self) -> None:
        super().__init__()
        self.name = f"test {uuid4()}"


@pytest.fixture
def run(database: Database) -> Run:
    return lambda function, *given, **named: database.run(lambda c: function(c, *given, **named))


@pytest.fixture
def scope(run: Run) -> AccountScope:
    return AccountScope(run(accounts.create_account, OPERATIONS, f"vectors {new_id()}"))


@pytest.fixture(autouse=True)
def _only_ours(run: Run) -> None:
    """Nothing that other tests learned waits to be indexed."""

    def clear(connection: Connection) -> None:
        for table in ("pattern_outbox", "index_builds", "pattern_uses", "patterns"):
            connection.execute(text(f"DELETE FROM {table}"))

    run(clear)


@pytest.fixture
async def embedding() -> AsyncIterator[Embedding]:
    opened = Embedding(TestEmbedder())
    yield opened
    await opened.close()


@pytest.fixture
async def vectors(database: Database, embedding: Embedding) -> AsyncIterator[Vectors]:
    """With an index that has nothing yet."""
    opened, space = Vectors(PgvectorStore(database)), await embedding.space()
    await opened.ensure(space)
    yield opened
    await opened.store.drop(space)


@pytest.fixture
def learn(run: Run, scope: AccountScope) -> Callable[..., UUID]:
    def record(title: str, digest: str = "") -> UUID:
        shown = patterns.Shown(new_id(), new_id(), "tests")
        return UUID(str(run(patterns.learn, scope, _lesson(title, digest or title), shown).id))

    return record


def _lesson(title: str, digest: str) -> patterns.NewPattern:
    steps = [{"tool": "web_search", "arguments": {}}]
    return patterns.NewPattern(PatternKind.WORKFLOW, title, "", steps, {}, "", "", digest)


@pytest.fixture
def drain(database: Database, embedding: Embedding, vectors: Vectors) -> Callable[[], Any]:
    return lambda: feeding.drain(database, VectorFollower(database, embedding, vectors))


async def nearest(scope: AccountScope, embedding: Embedding, vectors: Vectors, words: str) -> list[UUID]:
    (vector,) = await embedding.embed([words])
    return [hit.id for hit in await vectors.search(scope, await embedding.space(), vector)]


async def test_a_pattern_is_found_by_requests_that_led_to_it_and_has_no_copy_of_them(
    run: Run, scope: AccountScope, embedding: Embedding, vectors: Vectors, learn: Any, drain: Any
) -> None:
    request = tasks.NewTask(workflow="agent", input={"prompt": "Which ferry goes to Elba?"}, max_attempts=1)
    task = run(tasks.submit, scope, request).task
    plain, asked = learn("web_search"), learn("web_search", "another")
    run(patterns.learn, scope, _lesson("web_search", "another"), patterns.Shown(task.run_id, task.id, "tests"))
    await drain()
    assert await nearest(scope, embedding, vectors, "a ferry to Elba") == [asked, plain]
    assert "ferry" not in str(run(patterns.get_all, scope, [asked]))
    assert text_of(run(patterns.get, scope, asked), ["the password=hunter2hunter2"]).count("hunter2") == 0


async def test_what_is_learned_is_found_and_changes_with_the_record(
    run: Run, scope: AccountScope, embedding: Embedding, vectors: Vectors, learn: Any, drain: Any
) -> None:
    flight, cake = learn("book a flight"), learn("bake a cake")
    assert await drain() == 2
    assert await nearest(scope, embedding, vectors, "book a flight to Rome") == [flight, cake]
    assert run(patterns.get, scope, flight).embedder == embedding.embedder.name
    assert run(pattern_outbox.waiting, INDEXING) == {} or "vectors" not in run(pattern_outbox.waiting, INDEXING)

    def retire(connection: Connection) -> None:
        connection.execute(text("UPDATE patterns SET state = 'retired' WHERE id = :id"), {"id": cake})
        patterns.changed(connection, scope, [cake], "retired")

    run(retire)
    assert await drain() == 1
    hits = await vectors.search(scope, await embedding.space(), (await embedding.embed(["bake"]))[0])
    assert {hit.id: hit.state for hit in hits} == {flight: "active", cake: "retired"}


async def test_what_is_gone_from_the_record_is_gone_from_the_index(
    run: Run, scope: AccountScope, embedding: Embedding, vectors: Vectors, learn: Any, drain: Any
) -> None:
    kept, gone = learn("book a flight"), learn("bake a cake")
    await drain()

    def delete(connection: Connection) -> None:
        connection.execute(text("DELETE FROM patterns WHERE id = :id"), {"id": gone})
        pattern_outbox.tell(connection, scope, pattern_outbox.PATTERN, [str(gone)], pattern_outbox.DELETE)

    run(delete)
    await drain()
    assert await nearest(scope, embedding, vectors, "bake a cake") == [kept]


async def test_a_store_that_is_down_delays_the_index_and_loses_nothing(
    run: Run, scope: AccountScope, embedding: Embedding, vectors: Vectors, learn: Any, drain: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def down(*_: Any) -> None:
        raise VectorStoreUnavailable

    flight = learn("book a flight")
    with monkeypatch.context() as patch:
        patch.setattr(PgvectorStore, "upsert", down)
        assert await drain() == 0
    backlog = run(pattern_outbox.waiting, INDEXING)["vectors"]
    assert (backlog.waiting, backlog.error) == (1, "vector_store_unavailable")
    run(lambda connection: connection.execute(text("UPDATE pattern_outbox SET claimed_until = NULL")))
    assert await drain() == 1
    assert await nearest(scope, embedding, vectors, "book a flight") == [flight]


async def test_an_index_that_is_not_there_is_built_whole_before_it_is_searched(
    database: Database, run: Run, scope: AccountScope, embedding: Embedding, vectors: Vectors, learn: Any, drain: Any
) -> None:
    await vectors.store.drop(await embedding.space())
    early = learn("book a flight")
    run(pattern_outbox.discard, INDEXING, Consumer.VECTORS)  # told to the index of another embedder
    late = learn("bake a cake")
    assert await drain() == 1
    with pytest.raises(VectorIndexMissing):
        await nearest(scope, embedding, vectors, "book a flight")
    assert run(index_builds.newest, INDEXING)["vectors"].state == BuildState.QUEUED
    await Builder(database, embedding, vectors).build()
    assert await nearest(scope, embedding, vectors, "book a flight") == [early, late]
    newest = run(index_builds.newest, INDEXING)["vectors"]
    assert (newest.state, newest.done, newest.total, newest.embedder) == ("done", 2, 2, embedding.embedder.name)
    assert newest.ended_at is not None
    assert await Builder(database, embedding, vectors).build() is None


async def test_asking_twice_is_one_build_and_one_worker_takes_it(run: Run) -> None:
    first, again = run(index_builds.ask, INDEXING, Consumer.VECTORS), run(index_builds.ask, INDEXING, Consumer.VECTORS)
    assert first.id == again.id
    assert run(index_builds.take, INDEXING, Consumer.VECTORS, "g1", 60).generation == "g1"
    assert run(index_builds.take, INDEXING, Consumer.VECTORS, "g2", 60) is None
    assert run(index_builds.ask, INDEXING, Consumer.GRAPH).id != first.id


async def test_a_build_of_a_lost_worker_is_carried_on_and_its_late_worker_writes_no_more(
    database: Database, run: Run, scope: AccountScope, embedding: Embedding, vectors: Vectors, learn: Any
) -> None:
    flight = learn("book a flight")
    run(index_builds.ask, INDEXING, Consumer.VECTORS)
    lost = run(index_builds.take, INDEXING, Consumer.VECTORS, "glost", 60)
    space = await embedding.space()
    await vectors.store.draft(space, "glost")
    taken = await Builder(database, embedding, vectors, silent_s=0).build()
    assert taken is not None and taken.id == lost.id and taken.generation != "glost"
    assert await vectors.store.drafts(space) == []
    assert await nearest(scope, embedding, vectors, "book a flight") == [flight]
    assert not run(index_builds.tell, INDEXING, lost, 1, 1, "x")
    assert not run(index_builds.end, INDEXING, lost, BuildState.FAILED, "late")


async def test_a_worker_whose_build_was_taken_lets_go_of_it(
    database: Database, run: Run, embedding: Embedding, vectors: Vectors, learn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn("book a flight")
    run(index_builds.ask, INDEXING, Consumer.VECTORS)
    written = PgvectorStore.upsert

    async def meanwhile(self: PgvectorStore, space: Any, points: Any, generation: str | None = None) -> None:
        await asyncio.to_thread(run, index_builds.take, INDEXING, Consumer.VECTORS, "gother", 0)
        await written(self, space, points, generation)

    monkeypatch.setattr(PgvectorStore, "upsert", meanwhile)
    await Builder(database, embedding, vectors).build()
    newest = run(index_builds.newest, INDEXING)["vectors"]
    assert (newest.state, newest.generation, newest.error) == ("running", "gother", None)


async def test_a_build_cut_short_leaves_the_old_index_and_waits_for_the_store(
    database: Database, run: Run, scope: AccountScope, embedding: Embedding, vectors: Vectors, learn: Any, drain: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    flight = learn("book a flight")
    await drain()
    run(index_builds.ask, INDEXING, Consumer.VECTORS)

    async def down(*_: Any) -> None:
        raise VectorStoreUnavailable

    builder = Builder(database, embedding, vectors)
    with monkeypatch.context() as patch:
        patch.setattr(PgvectorStore, "publish", down)
        await builder.build()
    newest = run(index_builds.newest, INDEXING)["vectors"]
    assert (newest.state, newest.error) == ("queued", "vector_store_unavailable")
    assert len(await vectors.store.drafts(await embedding.space())) == 1
    assert await nearest(scope, embedding, vectors, "book a flight") == [flight]
    await builder.build()
    assert run(index_builds.newest, INDEXING)["vectors"].state == "done"
    assert await vectors.store.drafts(await embedding.space()) == []


async def test_what_changes_while_it_is_built_is_in_what_was_built(
    database: Database, run: Run, scope: AccountScope, embedding: Embedding, vectors: Vectors, learn: Any, drain: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(building, "PAGE", 2)
    ids = [learn(f"book a flight {number}") for number in range(5)]
    written = PgvectorStore.upsert
    changed: list[UUID] = []

    async def meanwhile(self: PgvectorStore, space: Any, points: Any, generation: str | None = None) -> None:
        """Edit a pattern between its being read and its being written, and let it be followed first."""
        if generation and not changed:
            changed.append(points[0].id)
            await asyncio.to_thread(run, _retitle, scope, changed[0])
            changed.append(await asyncio.to_thread(learn, "another flight"))
            await drain()
        await written(self, space, points, generation)

    run(index_builds.ask, INDEXING, Consumer.VECTORS)
    monkeypatch.setattr(PgvectorStore, "upsert", meanwhile)
    await Builder(database, embedding, vectors).build()
    found = await nearest(scope, embedding, vectors, "something else entirely")
    assert found[0] == changed[0]
    assert set(found) == {*ids, changed[1]}


def _retitle(connection: Connection, scope: AccountScope, pattern_id: UUID) -> None:
    change = "UPDATE patterns SET title = 'something else entirely', updated_at = clock_timestamp() WHERE id = :id"
    connection.execute(text(change), {"id": pattern_id})
    patterns.changed(connection, scope, [pattern_id], "edited")


async def test_a_pattern_is_found_by_what_it_is_for_and_the_tools_it_names(
    run: Run, scope: AccountScope, learn: Any
) -> None:
    row = run(patterns.get, scope, learn("Book a flight"))
    assert text_of(row) == "Book a flight\nweb search"
    assert text_of(row._replace(title="", steps=[])) == "workflow"


async def test_a_reminder_indexes_what_waits_and_builds_for_another_embedder(
    settings: Settings, run: Run, scope: AccountScope, learn: Any, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    ours = settings.model_copy(update={"embedder": "lexical", "home": settings.home})
    monkeypatch.setattr(indexing, "get_settings", lambda: ours)
    opened, space = Vectors(PgvectorStore(database)), await Embedding(LexicalEmbedder()).space()
    await opened.store.drop(space)  # another test may have left one
    await indexing.index()
    assert await indexing.index() == 0
    flight = learn("book a flight")
    assert await indexing.index() == 1
    assert run(patterns.get, scope, flight).embedder == "lexical-1"
    assert run(index_builds.newest, INDEXING)["vectors"].state == "done"
    assert await indexing.index() == 0
    monkeypatch.setattr(serving, "name_of", lambda _: "another")
    await indexing.index()
    assert run(lambda c: c.execute(text("SELECT count(*) FROM index_builds")).scalar_one()) == 2
    away = ours.model_copy(update={"database_url": SecretStr("postgresql://u:p@127.0.0.1:1/x")})
    await bank.close()
    monkeypatch.setattr(bank, "get_settings", lambda: away)
    assert await indexing.index() == 0
    await bank.close()
    await opened.store.drop(space)
