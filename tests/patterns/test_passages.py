"""What was said and made becomes passages that are found by likeness, within the account, as long as it is there."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from config.settings import Settings
from models.base import new_id
from models.database import Database
from models.indexing import BuildState
from models.passages import NOBODY, PassageKind
from models.patterns import Consumer
from models.repositories import artifacts, holdings, index_builds, passages, sessions
from models.repositories import pattern_outbox as outbox
from models.repositories.artifacts import NewVersion
from models.repositories.holdings import Content as Bytes
from models.repositories.holdings import Limits
from models.repositories.passages import PassageRow
from models.repositories.sessions import Turn
from models.scope import ENGINE, AccountScope
from tasks import indexing
from worker.patterns import feeding
from worker.patterns.building import INDEXING
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.embedders.lexical import LexicalEmbedder
from worker.patterns.embedders.opening import name_of
from worker.patterns.passages import serving
from worker.patterns.passages.building import PassageBuilder
from worker.patterns.passages.cutting import PASSAGE_MAX, PASSAGES_MAX, pieces
from worker.patterns.passages.following import PassageFollower
from worker.patterns.vectors.base import Content, Where
from worker.patterns.vectors.errors import VectorStoreUnavailable
from worker.patterns.vectors.index import Vectors
from worker.patterns.vectors.pgvector import PgvectorStore

Run = Callable[..., Any]


class OwnEmbedder(LexicalEmbedder):
    """Words, in a space of this test alone."""

    def __init__(self) -> None:
        super().__init__()
        self.name = f"test {uuid4()}"


@pytest.fixture
def run(database: Database) -> Run:
    return lambda function, *given, **named: database.run(lambda c: function(c, *given, **named))


@pytest.fixture(autouse=True)
def _only_ours(run: Run) -> None:
    """Nothing that other tests said waits to be indexed."""

    def clear(connection: Connection) -> None:
        connection.execute(text("DELETE FROM pattern_outbox WHERE consumer = 'passages'"))
        connection.execute(text("DELETE FROM index_builds WHERE consumer = 'passages'"))
        connection.execute(text("DELETE FROM passages"))

    run(clear)


@pytest.fixture
async def embedding() -> AsyncIterator[Embedding]:
    opened = Embedding(OwnEmbedder())
    yield opened
    await opened.close()


@pytest.fixture
async def index(database: Database, embedding: Embedding) -> AsyncIterator[Vectors]:
    """An index that has nothing yet."""
    opened, space = Vectors(PgvectorStore(database)), await embedding.space(Content.PASSAGES)
    await opened.ensure(space)
    yield opened
    await opened.store.drop(space)


@pytest.fixture
def drain(database: Database, embedding: Embedding, index: Vectors) -> Callable[[], Any]:
    return lambda: feeding.drain(database, PassageFollower(database, embedding, index))


@pytest.fixture
def say(run: Run) -> Callable[..., UUID]:
    """Add a turn to a session, a new one by default; returns the session's id."""

    def add(
        scope: AccountScope, asked: str, answered: str, session: UUID | None = None, agent: str | None = None
    ) -> UUID:
        session = session or run(sessions.create, scope, "talk", agent).id
        turn = Turn(session, 0, [user(asked), called("web_search"), assistant(answered)])
        run(sessions.append, ENGINE, scope.account_id, new_id(), turn)
        return session

    return add


@pytest.fixture
def make(run: Run) -> Callable[..., UUID]:
    """Keep a version of an artifact; returns its id."""

    def keep(scope: AccountScope, name: str, shown: str = "", version: int = 1, known: UUID | None = None) -> UUID:
        artifact_id, bytes_of = known or new_id(), Bytes(f"{new_id().hex:0>64}", 1)
        run(holdings.hold, scope, [bytes_of], Limits(10, 10))
        preview = {"text": shown, "truncated": False} if shown else {}
        facts = ("document", version, "artifact:1", "text/plain", 1, bytes_of.sha256, preview)
        new = NewVersion(artifact_id, name, f"About {name}", *facts)
        run(artifacts.insert, scope, artifact_id, new_id(), [new])
        return artifact_id

    return keep


def user(said: Any) -> dict[str, Any]:
    return {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": said}]}


def assistant(said: str) -> dict[str, Any]:
    return {
        "kind": "response",
        "parts": [{"part_kind": "thinking", "content": "hmm"}, {"part_kind": "text", "content": said}],
    }


def called(tool: str) -> dict[str, Any]:
    return {"kind": "request", "parts": [{"part_kind": "tool-return", "tool_name": tool, "content": "a tool's words"}]}


async def near(
    scope: AccountScope, embedding: Embedding, index: Vectors, run: Run, words: str, **where: Any
) -> list[PassageRow]:
    (vector,) = await embedding.embed([words], Content.PASSAGES)
    hits = await index.search(scope, await embedding.space(Content.PASSAGES), vector, Where(**where))
    found: list[PassageRow] = run(passages.get_all, scope, [hit.id for hit in hits])
    return found


async def test_what_people_and_the_model_said_is_found_and_what_tools_said_is_not(
    run: Run, scope: AccountScope, embedding: Embedding, index: Vectors, say: Any, drain: Any
) -> None:
    session = say(scope, "Which ferry goes to Elba?", "The one from Piombino.", agent="scout")
    say(scope, [{"kind": "image-url", "url": "x"}, "What is in this picture?"], "A cake.", session)
    assert await drain() == 1, "two turns are one entry"
    first, *_ = await near(scope, embedding, index, run, "a ferry to Elba")
    assert (first.source_id, first.number, first.speaker, first.agent) == (session, 1, "user", "scout")
    told = [row.text for row in await near(scope, embedding, index, run, "tool words hmm")]
    assert sorted(told) == [
        "A cake.", "The one from Piombino.", "What is in this picture?", "Which ferry goes to Elba?"
    ]  # fmt: skip
    say(scope, "And to Corsica?", "From Livorno.", session)
    assert await drain() == 1
    assert len(await near(scope, embedding, index, run, "ferry")) == 6, "what was cut is not cut again"
    assert Consumer.PASSAGES not in run(outbox.waiting, INDEXING)


async def test_nobody_finds_what_another_account_said(
    run: Run, scope: AccountScope, make_account: Any, embedding: Embedding, index: Vectors, say: Any, drain: Any
) -> None:
    other = make_account()
    say(scope, "Which ferry goes to Elba?", "One.")
    theirs = say(other, "Which ferry goes to Elba?", "Another.")
    await drain()
    assert {row.source_id for row in await near(other, embedding, index, run, "ferry to Elba")} == {theirs}
    mine = [row.id for row in await near(scope, embedding, index, run, "ferry to Elba")]
    assert len(mine) == 2 and run(passages.get_all, other, mine) == []
    by_words = run(passages.by_words, other, PassageKind.MESSAGE, ["ferry"], None, 9)
    assert {row.source_id for row, _ in by_words} == {theirs}


async def test_an_agent_s_own_sessions_are_told_apart(
    run: Run, scope: AccountScope, embedding: Embedding, index: Vectors, say: Any, drain: Any
) -> None:
    mine, nobodys = say(scope, "A ferry?", "Yes.", agent="scout"), say(scope, "A ferry?", "No.")
    await drain()
    found = await near(scope, embedding, index, run, "ferry", agent="scout")
    assert {row.source_id for row in found} == {mine}
    assert {row.source_id for row in await near(scope, embedding, index, run, "ferry", agent=NOBODY)} == {nobodys}


async def test_a_deleted_session_is_forgotten_by_the_index_too(
    run: Run, scope: AccountScope, embedding: Embedding, index: Vectors, say: Any, drain: Any
) -> None:
    kept, gone = say(scope, "A ferry?", "Yes."), say(scope, "A cake?", "No.")
    await drain()
    run(sessions.delete, scope, gone)
    assert {row.source_id for row in await near(scope, embedding, index, run, "cake")} == {kept}, "at once"
    await drain()
    assert await index.count(scope, await embedding.space(Content.PASSAGES)) == 2


async def test_a_session_deleted_while_it_is_indexed_leaves_nothing(
    run: Run, scope: AccountScope, embedding: Embedding, index: Vectors, say: Any, drain: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    session = say(scope, "A ferry?", "Yes.")
    written = PgvectorStore.upsert

    async def meanwhile(self: PgvectorStore, *given: Any) -> None:
        run(sessions.delete, scope, session)
        run(outbox.discard, INDEXING, Consumer.PASSAGES)  # as if another worker had told it before
        await written(self, *given)

    monkeypatch.setattr(PgvectorStore, "upsert", meanwhile)
    await drain()
    assert await index.count(scope, await embedding.space(Content.PASSAGES)) == 0


async def test_an_artifact_is_found_by_its_title_and_by_how_its_newest_version_begins(
    run: Run, scope: AccountScope, embedding: Embedding, index: Vectors, make: Any, drain: Any
) -> None:
    ferries, picture = make(scope, "ferries.md", "The timetable of Elba."), make(scope, "boat.png")
    await drain()
    assert [row.source_id for row in await near(scope, embedding, index, run, "timetable Elba")] == [ferries, picture]
    assert (await near(scope, embedding, index, run, "boat.png"))[0].text == "About boat.png (boat.png)"
    make(scope, "ferries.md", "Prices of Corsica.", 2, ferries)
    assert await drain() == 2, "the version, and what is no more"
    (row, _) = await near(scope, embedding, index, run, "ferries.md Corsica")
    assert (row.number, row.text) == (2, "Prices of Corsica.")
    run(artifacts.delete, scope, ferries)
    await drain()
    assert await index.count(scope, await embedding.space(Content.PASSAGES)) == 1


async def test_secrets_are_masked_before_anything_is_kept_or_embedded(
    run: Run, scope: AccountScope, embedding: Embedding, index: Vectors, say: Any, drain: Any
) -> None:
    say(scope, "My password=hunter2hunter2, what now?", "Change it.")
    await drain()
    (row, *_) = await near(scope, embedding, index, run, "password")
    assert "hunter2" not in row.text and "what now" in row.text


async def test_a_store_that_is_down_loses_nothing_and_cuts_nothing_twice(
    run: Run, scope: AccountScope, embedding: Embedding, index: Vectors, say: Any, drain: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def down(*_: Any) -> None:
        raise VectorStoreUnavailable

    say(scope, "A ferry?", "Yes.")
    with monkeypatch.context() as patch:
        patch.setattr(PgvectorStore, "upsert", down)
        assert await drain() == 0
    assert run(outbox.waiting, INDEXING)["passages"].error == "vector_store_unavailable"
    run(lambda connection: connection.execute(text("UPDATE pattern_outbox SET claimed_until = NULL")))
    assert await drain() == 1
    assert len(await near(scope, embedding, index, run, "ferry")) == 2


async def test_an_index_is_built_anew_with_what_was_said_before_there_was_one(
    database: Database, run: Run, scope: AccountScope, embedding: Embedding, index: Vectors, say: Any, drain: Any
) -> None:
    await index.store.drop(await embedding.space(Content.PASSAGES))
    known, old = say(scope, "A ferry?", "Yes."), say(scope, "A train?", "No.")
    run(lambda c: c.execute(text("DELETE FROM pattern_outbox WHERE key = :key"), {"key": str(old)}))
    await drain()
    assert run(index_builds.newest, INDEXING)["passages"].state == BuildState.QUEUED
    await PassageBuilder(database, embedding, index).build()
    built = run(index_builds.newest, INDEXING)["passages"]
    assert (built.state, built.done, built.total, built.embedder) == ("done", 2, 2, embedding.embedder.name)
    assert {row.source_id for row in await near(scope, embedding, index, run, "ferry")} == {known}
    await drain()
    assert {row.source_id for row in await near(scope, embedding, index, run, "ferry train")} == {known, old}


async def test_a_worker_that_is_reminded_indexes_what_waits_unless_it_is_told_not_to(
    run: Run, scope: AccountScope, settings: Settings, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = settings.model_copy(update={"embedder": "lexical"})
    monkeypatch.setattr(indexing, "get_settings", lambda: here)
    session = say(scope, "A ferry?", "Yes.")
    assert await indexing.index_passages() == 1
    state = run(index_builds.newest, INDEXING).get("passages")
    assert state is None or state.state == BuildState.DONE, "built where there was no index yet"
    rows = run(passages.not_embedded, scope, [session], "another", 9)
    assert len(rows) == 2 and {row.embedder for row in rows} != {None}
    while await indexing.index_passages():  # what a build had cut that other tests said
        pass
    say(scope, "A cake?", "No.", session)
    here = here.model_copy(update={"recall": False})
    assert await indexing.index_passages() == 0
    assert Consumer.PASSAGES not in run(outbox.waiting, INDEXING)
    assert len(run(passages.not_embedded, scope, [session], "another", 9)) == 2, "what was indexed stays"


async def test_an_index_by_another_embedder_is_built_anew(
    run: Run, database: Database, scope: AccountScope, settings: Settings, say: Any
) -> None:
    here = settings.model_copy(update={"embedder": "lexical"})
    say(scope, "A ferry?", "Yes.")
    await serving.serve(here, database)
    run(index_builds.ask, INDEXING, Consumer.PASSAGES)
    await serving.serve(here, database)
    run(lambda c: c.execute(text("UPDATE index_builds SET embedder = 'old' WHERE consumer = 'passages'")))
    await serving.serve(here, database)
    built = run(index_builds.newest, INDEXING)["passages"]
    assert (built.state, built.embedder) == ("done", name_of(here))


def test_a_long_text_is_cut_where_it_pauses_and_ends_somewhere() -> None:
    sentence = "Every sentence of this text says the same. "
    cut = pieces(sentence * 200)
    assert all(piece.endswith("same.") and len(piece) <= PASSAGE_MAX for piece in cut)
    assert "".join(cut).replace(" ", "") == (sentence * 200).replace(" ", "")
    assert [len(piece) for piece in pieces("x" * 10**6)] == [PASSAGE_MAX] * PASSAGES_MAX
    assert pieces(" \n ") == []
