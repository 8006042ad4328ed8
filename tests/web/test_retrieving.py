"""What is known, asked over HTTP: a worker answers by likeness, and the record's words where none does."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from uuid import UUID

import pytest
import redis
import redis.asyncio
from flask import Flask

from config.settings import Settings
from models.base import new_id
from models.database import Database
from models.patterns import PatternKind
from models.pubsub import DESK
from models.repositories import artifacts, holdings, patterns, sessions
from models.repositories.artifacts import NewVersion
from models.repositories.sessions import Turn
from models.scope import ENGINE, AccountScope
from tests.web.conftest import Caller, Client
from web import create_app
from web.services import EXTENSION
from worker.patterns.bank import Bank
from worker.patterns.desk import Desk
from worker.patterns.passages.finding import Sought
from worker.patterns.passages.following import cut_artifact, cut_session
from worker.patterns.questions import pack, unpack
from worker.patterns.retrieval import Question
from worker.patterns.vectors.base import Point

pytestmark = pytest.mark.stack

TEXT = "book a flight"


@pytest.fixture
def taught(database: Database, account: Caller) -> patterns.PatternRow:
    steps = [{"tool": "find", "arguments": {"city": "input"}}, {"tool": "book", "arguments": {}}]
    new = patterns.NewPattern(PatternKind.WORKFLOW, "find, then book", "a task about a flight", steps, {}, "", "", TEXT)
    shown = patterns.Shown(new_id(), new_id(), "tests")
    learned = database.run(lambda c: patterns.learn(c, account.scope, new, shown))
    return database.run(lambda c: patterns.get(c, account.scope, learned.id))


@pytest.fixture
def impatient(settings: Settings, account: Caller) -> Iterator[Client]:
    """A client of a front that waits for workers a moment only."""
    app: Flask = create_app(settings.model_copy(update={"patterns_timeout_s": 0.1, "redis_timeout_s": 0.1}))
    app.test_client_class = Client
    client = app.test_client()
    assert isinstance(client, Client)
    client.key = account.key
    yield client
    app.extensions[EXTENSION].close()


@contextmanager
def worker(settings: Settings, rows: list[patterns.PatternRow]) -> Iterator[None]:
    """A worker's desk on a loop of its own, which has indexed these patterns."""
    ready, done = Event(), Event()
    quiet = settings.model_copy(update={"embedder": "lexical", "patterns_timeout_s": 10})

    async def serve() -> None:
        bank = Bank(quiet)
        embedding, vectors = await bank.opened()
        space = await embedding.space()
        await vectors.ensure(space)
        made = await embedding.embed([TEXT for _ in rows])
        points = [Point(row.id, row.account_id, each, row.kind) for row, each in zip(rows, made)]
        await vectors.upsert(space, points)
        client = redis.asyncio.Redis.from_url(settings.redis_url.get_secret_value())
        desk = Desk(bank.retrieval, client, settings.key_pepper.get_secret_value(), bank.recall)
        desk.start()
        ready.set()
        await asyncio.to_thread(done.wait)
        await desk.stop()
        await bank.close()

    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield
    done.set()
    thread.join()


def test_a_worker_answers_by_likeness_within_the_account_and_others_get_nothing(
    client: Client, taught: patterns.PatternRow, settings: Settings, other_account: Caller
) -> None:
    with worker(settings, [taught]):
        told = client.post("/v1/rag/retrieve", json={"text": "please book me a flight"}).json
        foreign = client.post("/v1/rag/retrieve", json={"text": TEXT}, headers=other_account.headers).json
        lacking = client.post("/v1/rag/retrieve", json={"text": TEXT, "tools": ["find"]}).json
        pitfalls = client.post("/v1/rag/retrieve", json={"text": TEXT, "kinds": ["pitfall"]}).json
    assert (told["sources"], told["degraded"], told["found"]) == (["vectors", "graph"], {}, 1)
    assert (told["found_by"], told["embedder"], told["patterns"][0]["found_by"]) == ("lexical", "lexical-1", "lexical")
    (found,) = told["patterns"]
    assert (found["id"], found["tools"], found["proven"]) == (str(taught.id), ["find", "book"], False)
    assert "find(city from input), then book" in told["block"]
    assert [each["patterns"] for each in (foreign, lacking, pitfalls)] == [[], [], []]


def test_without_a_worker_the_words_of_the_record_answer_and_it_is_said(
    impatient: Client, taught: patterns.PatternRow
) -> None:
    told = impatient.post("/v1/rag/retrieve", json={"text": "a flight, please"}).json
    assert [each["id"] for each in told["patterns"]] == [str(taught.id)]
    assert (told["sources"], told["degraded"]) == (["words"], {"workers": "no_answer"})
    assert (told["found_by"], told["embedder"]) == ("words", "")


def talked(database: Database, scope: AccountScope) -> UUID:
    """A session in which somebody asked for a flight."""

    def talk(connection: Any) -> UUID:
        session = sessions.create(connection, scope, "Travels", None).id
        message = {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "Book me a flight to Rome."}]}
        sessions.append(connection, ENGINE, scope.account_id, new_id(), Turn(session, 0, [message]))
        cut_session(connection, scope, session)
        return session

    return database.run(talk)


def test_what_was_said_is_found_with_a_link_to_it_and_never_another_account_s(
    client: Client, database: Database, account: Caller, settings: Settings, other_account: Caller
) -> None:
    asked = {"text": TEXT, "of": ["messages"]}
    session = talked(database, account.scope)
    with worker(settings, []):
        told = client.post("/v1/rag/retrieve", json=asked).json
        foreign = client.post("/v1/rag/retrieve", json=asked, headers=other_account.headers).json
    (found,) = told["passages"]
    assert (found["source_id"], found["text"], found["speaker"]) == (str(session), "Book me a flight to Rome.", "user")
    (message,) = client.get(found["links"]["source"]).json["messages"]
    assert message["number"] == found["number"] == 1
    assert told["patterns"] == [] and "| 1. message 1 of session" in told["block"]
    assert (foreign["passages"], foreign["block"]) == ([], "")


def test_without_a_worker_words_find_what_was_said_and_made(
    impatient: Client, database: Database, account: Caller
) -> None:
    session = talked(database, account.scope)
    flight, other, apart = (kept(database, account.scope, name) for name in ("flight to Rome", "flight log", "cake"))
    told = impatient.post("/v1/rag/retrieve", json={"text": TEXT, "of": ["messages", "artifacts"], "limit": 9}).json
    assert {each["source_id"] for each in told["passages"]} == {str(session), str(flight), str(other)}
    assert told["degraded"] == {"workers": "no_answer", "passages:vectors": "no_answer"}
    like = impatient.get(f"/v1/artifacts/{flight}/similar").json
    assert [each["id"] for each in like["artifacts"]] == [str(other)] and like["artifacts"][0]["similarity"] > 0
    assert impatient.get(f"/v1/artifacts/{apart}/similar").json["artifacts"] == []
    assert impatient.get(f"/v1/artifacts/{new_id()}/similar").status_code == 404


def kept(database: Database, scope: AccountScope, name: str) -> UUID:
    """An artifact without text."""

    def keep(connection: Any) -> UUID:
        content = holdings.Content(f"{new_id().hex:0>64}", 1)
        holdings.hold(connection, scope, [content], holdings.Limits(10, 10))
        new = NewVersion(new_id(), name, name, "image", 1, "artifact:1", "image/png", 1, content.sha256)
        artifacts.insert(connection, scope, new_id(), new_id(), [new])
        cut_artifact(connection, scope, new.id)
        return new.id

    return database.run(keep)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": "x" * 20_001},
        {"text": "x", "limit": 13},
        {"text": "x", "kinds": ["rumour"]},
        {"text": "x", "account_id": "y"},
        {"text": "x", "of": ["secrets"]},
        {"text": "x", "of": []},
    ],
)
def test_what_can_be_no_question_is_refused(client: Client, body: Any) -> None:
    assert client.post("/v1/rag/retrieve", json=body).status_code == 422


def test_questions_nobody_signed_or_waits_for_are_not_answered(
    account: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Question(TEXT, frozenset({"find"}), "scout", frozenset({"fix"}), frozenset({"timeout"}), 2, 100)
    text = pack("pepper", "name", account.scope, asked)
    told = unpack("pepper", text)
    assert told is not None
    assert (told[0], told[1].account_id, *told[2:]) == ("name", account.scope.account_id, asked, None)
    sought = Sought(TEXT, messages=1, apart=new_id())
    known = unpack("pepper", pack("pepper", "name", account.scope, asked, sought))
    assert known is not None and known[3] == sought
    body = json.loads(text[64:])
    forged = json.dumps(body | {"account": str(new_id())})
    for wrong in (pack("other", "name", account.scope, asked), text[:64] + forged, "", "{}", "\udcff" * 70):
        assert unpack("pepper", wrong) is None
    monkeypatch.setattr(time, "time", lambda: body["until"] + 1)
    assert unpack("pepper", text) is None


def test_rubbish_on_the_desk_stops_nobody(client: Client, taught: patterns.PatternRow, settings: Settings) -> None:
    with worker(settings, [taught]), redis.Redis.from_url(settings.redis_url.get_secret_value()) as rubbish:
        rubbish.rpush(DESK, b"\xff\xfe", "x", "[" * 10_000)
        assert client.post("/v1/rag/retrieve", json={"text": TEXT}).json["sources"] == ["vectors", "graph"]
