"""Streams over gunicorn with real clients: exactly 1..n, whatever happens to sockets, Redis and PostgreSQL."""

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from local.postgres import PostgresServer
from local.redis import RedisServer
from models.database import Database
from models.pubsub import task_channel, text_key
from models.repositories import events
from models.repositories.events import Page
from tests.web.conftest import PROBE, Caller, Front, until
from tests.web.story import Story
from tests.web.viewer import Viewer


@pytest.fixture
def viewer(front: Front, account: Caller, story: Story) -> Any:
    viewer = Viewer(front, account, story.path).start()
    yield viewer
    viewer.stop()


def refused(url: str, **options: Any) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught, connect(url, **options):
        pass
    return caught.value


def test_a_stream_sends_every_event_and_closes_after_the_last(viewer: Viewer, story: Story) -> None:
    story.many(20)
    story.finish()
    assert viewer.finish() == list(range(1, 23))
    assert (viewer.close_code, viewer.connections) == (1000, 1)


def test_a_stream_of_an_ended_task_replays_and_closes(front: Front, account: Caller, story: Story) -> None:
    story.many(600)
    story.finish()
    assert Viewer(front, account, story.path).start().finish() == list(range(1, 603))


def test_a_stream_after_the_end_of_an_ended_task_closes_at_once(front: Front, account: Caller, story: Story) -> None:
    story.finish()
    with connect(f"{front.sockets}{story.path}/stream?after=99", additional_headers=account.headers) as ws:
        assert list(ws) == []
        assert ws.close_code == 1000


def test_events_reach_a_reader_without_waiting_for_a_sweep(viewer: Viewer, story: Story) -> None:
    until(lambda: viewer.after == 1)
    began = time.monotonic()
    for number in range(20):
        story.event(number=number)
        until(lambda: viewer.after == story.last_seq)
    assert time.monotonic() - began < 20  # twenty sweeps would take longer


@pytest.mark.parametrize("seed", range(3))
def test_a_reader_dropped_at_random_points_sees_one_to_n(viewer: Viewer, story: Story, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(15):
        story.many(chance.randint(1, 4))
        if chance.random() < 0.6:
            viewer.drop()
        if chance.random() < 0.4:
            seq = story.open_text()
            for piece in "abcdefgh":
                story.delta(seq, piece * chance.randint(1, 5))
                if chance.random() < 0.2:
                    viewer.drop()
            story.close_text(seq)
    story.finish()
    assert viewer.finish() == list(range(1, story.last_seq + 1))
    assert viewer.connections > 1


def test_a_reader_with_lost_and_repeated_and_disordered_pushes_sees_one_to_n(viewer: Viewer, story: Story) -> None:
    chance = random.Random(7)
    told = []
    for number in range(60):
        story.pushing = chance.random() > 0.4
        told.append(story.event(number=number))
        story.pushing = True
        if chance.random() < 0.3:
            story.push(chance.choice(told))
    story.finish()
    assert viewer.finish() == list(range(1, story.last_seq + 1))


def test_without_any_push_the_sweep_delivers(viewer: Viewer, story: Story) -> None:
    until(lambda: viewer.after == 1)
    story.pushing = False
    story.many(450)
    story.finish()
    assert viewer.finish() == list(range(1, 453))


def test_rubbish_from_redis_is_ignored(viewer: Viewer, story: Story) -> None:
    until(lambda: viewer.after == 1)
    for rubbish in (b"\xff", b"{", b"[]", b"{}", b'{"seq": 2, "type": "model.delta", "task_id": "x", "data": {}}'):
        story.redis.publish(task_channel(story.task_id), rubbish)
    story.finish()
    assert viewer.finish() == [1, 2]


def test_text_arrives_as_deltas(viewer: Viewer, story: Story) -> None:
    seq = story.open_text()
    for piece in ("Hé", "llo ", "wörld ", "🌍"):
        story.delta(seq, piece)
    until(lambda: viewer.texts.get(seq) == "Héllo wörld 🌍")
    story.close_text(seq)
    story.finish()
    viewer.finish()
    assert viewer.full == {"say:1": "Héllo wörld 🌍"}


def test_who_joins_in_the_middle_of_a_text_gets_what_was_said(front: Front, account: Caller, story: Story) -> None:
    seq = story.open_text()
    story.delta(seq, "said before; ")
    viewer = Viewer(front, account, story.path).start()
    until(lambda: viewer.texts.get(seq) == "said before; ")
    story.delta(seq, "said now")
    until(lambda: viewer.texts[seq] == "said before; said now")
    story.finish()
    viewer.finish()


def test_a_lost_piece_of_text_is_fetched(viewer: Viewer, story: Story) -> None:
    seq = story.open_text()
    story.delta(seq, "one ")
    until(lambda: viewer.texts.get(seq) == "one ")
    story.pushing = False
    story.delta(seq, "two ")
    story.pushing = True
    story.delta(seq, "three")
    until(lambda: viewer.texts[seq] == "one two three")
    story.finish()
    viewer.finish()


def test_text_that_redis_forgot_is_not_made_up(viewer: Viewer, story: Story) -> None:
    seq = story.open_text()
    story.delta(seq, "one ")
    until(lambda: viewer.texts.get(seq) == "one ")
    story.redis.delete(text_key(story.task_id, seq))
    story.pushing = False
    story.delta(seq, "two ")
    story.pushing = True
    story.delta(seq, "three")
    story.close_text(seq)
    story.finish()
    viewer.finish()
    assert viewer.texts[seq] == "one "
    assert viewer.full["say:1"] == "one two three"


def test_a_retried_task_is_followed_into_its_new_run(front: Front, account: Caller, story: Story) -> None:
    story.finish("task.dead")
    assert front.post(f"{story.path}/retry", account).status_code == 202
    viewer = Viewer(front, account, story.path).start()
    until(lambda: viewer.after == 3)
    story.finish()
    assert viewer.finish() == [1, 2, 3, 4]


@pytest.mark.parametrize("trouble", ["killed", "frozen", "wiped"])
def test_trouble_of_redis_in_mid_stream_loses_nothing(
    viewer: Viewer, story: Story, fresh_redis: RedisServer, trouble: str
) -> None:
    story.many(3)
    until(lambda: viewer.after == 4)
    if trouble == "wiped":
        fresh_redis.wipe()
        story.many(3)
    else:
        {"killed": fresh_redis.kill, "frozen": fresh_redis.freeze}[trouble]()
        story.pushing = False
        story.many(3)
        until(lambda: viewer.after == 7)
        {"killed": fresh_redis.start, "frozen": fresh_redis.thaw}[trouble]()
        story.pushing = True
    story.many(3)
    story.finish()
    assert viewer.finish() == list(range(1, 12))
    assert viewer.connections == 1


def test_pushes_work_again_after_redis_came_back(viewer: Viewer, story: Story, fresh_redis: RedisServer) -> None:
    until(lambda: viewer.after == 1)
    fresh_redis.kill()
    fresh_redis.start()
    seq = story.open_text()
    until(lambda: viewer.after == seq)

    def heard() -> bool:
        story.delta(seq, "x")  # deltas come by push only
        return bool(viewer.texts[seq])

    until(heard)
    story.finish()
    viewer.finish()


def test_a_slow_reader_holds_nobody_up_and_misses_nothing(
    front: Front, account: Caller, story: Story, viewer: Viewer
) -> None:
    slow = raw_stream(front, account, story)
    for _ in range(30):
        story.many(20)
        story.event(padding="x" * 60_000)
    story.finish()
    assert viewer.finish() == list(range(1, story.last_seq + 1))
    seqs = read_frames(slow)
    assert seqs == list(range(1, story.last_seq + 1))


def raw_stream(front: Front, account: Caller, story: Story) -> socket.socket:
    """Open a stream and read nothing of it; with little room, so that the server's sends block."""
    address = urlsplit(front.url)
    assert address.hostname
    assert address.port
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect((address.hostname, address.port))
    request = (
        f"GET {story.path}/stream HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {account.key}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    plain.sendall(request.encode())
    return plain


def read_frames(plain: socket.socket) -> list[int]:
    """Read server frames (unmasked, no fragments) until the close frame; return the events' numbers."""
    plain.settimeout(30)
    with plain, plain.makefile("rb") as stream:
        while stream.readline().strip():
            pass
        seqs = []
        while True:
            opcode, length = stream.read(2)
            if length in {126, 127}:
                length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
            payload = stream.read(length)
            if opcode & 15 == 8:
                return seqs
            if opcode & 15 == 1:
                seqs.append(json.loads(payload)["seq"])


def test_many_tasks_on_one_socket(front: Front, account: Caller, new_story: Callable[[Caller], Story]) -> None:
    first, second = new_story(account), new_story(account)
    with connect(f"{front.sockets}/v1/stream", additional_headers=account.headers) as ws:
        for story in (first, second):
            ws.send(json.dumps({"action": "subscribe", "task_id": str(story.task_id), "after": 0}))
        first.many(5)
        second.many(5)
        seen: dict[str, list[int]] = {str(first.task_id): [], str(second.task_id): []}
        answers = []
        while any(len(numbers) < 6 for numbers in seen.values()):
            message = json.loads(ws.recv(timeout=20))
            (seen[message["task_id"]].append(message["seq"]) if "seq" in message else answers.append(message["type"]))
        assert all(numbers == list(range(1, 7)) for numbers in seen.values())
        assert answers == ["subscribed", "subscribed"]
        ws.send(json.dumps({"action": "unsubscribe", "task_id": str(first.task_id)}))
        assert json.loads(ws.recv(timeout=20))["type"] == "unsubscribed"
        first.event()
        second.event()
        assert json.loads(ws.recv(timeout=20))["task_id"] == str(second.task_id)


def test_a_bad_message_is_answered_and_the_socket_stays_open(
    front: Front, account: Caller, new_story: Callable[[Caller], Story], other_account: Caller
) -> None:
    foreign = new_story(other_account)
    subscribe = {"action": "subscribe", "task_id": str(foreign.task_id)}
    bad = ["{", "[]", "{}", '{"action": "dance"}', '{"action": "subscribe", "task_id": "x"}', json.dumps(subscribe)]
    bad.append(json.dumps(subscribe | {"after": -1}))
    with connect(f"{front.sockets}/v1/stream", additional_headers=account.headers) as ws:
        for message in bad:
            ws.send(message)
            answer = json.loads(ws.recv(timeout=20))
            assert answer["type"] == "error", message
            assert answer["error"]["status"] in {400, 404, 422}
        ws.send('{"action": "ping"}')
        assert json.loads(ws.recv(timeout=20)) == {"type": "pong"}


def test_a_foreign_or_unknown_task_is_refused_before_the_upgrade(
    front: Front, story: Story, other_account: Caller
) -> None:
    for path in (story.path, "/v1/tasks/nope", "/v1/tasks/0198f2a0-0000-7000-8000-000000000000"):
        refusal = refused(f"{front.sockets}{path}/stream", additional_headers=other_account.headers)
        assert refusal.response.status_code == 404
        assert json.loads(refusal.response.body or b"")["code"] == "not_found"


@pytest.mark.parametrize("query", ["after=-1", "after=x", "offsets=x", "offsets=1:-1"])
def test_a_wrong_start_is_refused_before_the_upgrade(front: Front, account: Caller, story: Story, query: str) -> None:
    refusal = refused(f"{front.sockets}{story.path}/stream?{query}", additional_headers=account.headers)
    assert refusal.response.status_code == 400


def test_without_key_or_ticket_there_is_no_stream(front: Front, story: Story) -> None:
    for path in (f"{story.path}/stream", "/v1/stream", f"{story.path}/stream?ticket=nope"):
        assert refused(f"{front.sockets}{path}").response.status_code == 401


def test_a_stream_asked_for_without_an_upgrade_says_so(front: Front, account: Caller, story: Story) -> None:
    answer = front.get(f"{story.path}/stream", account)
    assert (answer.status_code, answer.json()["code"]) == (426, "upgrade_required")


def ticket(front: Front, caller: Caller, **body: Any) -> str:
    made = front.post("/v1/stream-tickets", caller, json=body)
    assert made.status_code == 201
    return str(made.json()["ticket"])


def test_a_ticket_opens_one_stream_once(front: Front, account: Caller, story: Story) -> None:
    url = f"{front.sockets}{story.path}/stream?ticket={ticket(front, account, task_id=str(story.task_id))}"
    with connect(url) as ws:
        assert json.loads(ws.recv(timeout=20))["seq"] == 1
    assert refused(url).response.status_code == 401


def test_a_ticket_for_one_task_opens_no_other(
    front: Front, account: Caller, new_story: Callable[[Caller], Story]
) -> None:
    mine, other = new_story(account), new_story(account)
    only_mine = ticket(front, account, task_id=str(mine.task_id))
    assert refused(f"{front.sockets}{other.path}/stream?ticket={only_mine}").response.status_code == 404
    with connect(f"{front.sockets}/v1/stream?ticket={ticket(front, account, task_id=str(mine.task_id))}") as ws:
        ws.send(json.dumps({"action": "subscribe", "task_id": str(other.task_id)}))
        assert json.loads(ws.recv(timeout=20))["error"]["status"] == 404


def test_a_ticket_expires(front: Front, account: Caller, story: Story) -> None:
    text = ticket(front, account)
    story.sql("UPDATE stream_tickets SET expires_at = now() WHERE account_id = :id", id=account.scope.account_id)
    assert refused(f"{front.sockets}/v1/stream?ticket={text}").response.status_code == 401


def test_a_ticket_opens_nothing_but_streams(front: Front, account: Caller, story: Story) -> None:
    assert httpx.get(f"{front.url}{story.path}?ticket={ticket(front, account)}").status_code == 401


def test_pages_of_other_sites_are_refused(front: Front, account: Caller, story: Story) -> None:
    url = f"{front.sockets}{story.path}/stream"
    for origin in ("https://evil.example", "null", "http://127.0.0.1", "file://"):
        refusal = refused(url, additional_headers=account.headers, origin=origin)
        assert refusal.response.status_code == 403
        assert json.loads(refusal.response.body or b"")["code"] == "origin_refused"
    with connect(url, additional_headers=account.headers, origin=front.url) as ws:  # type: ignore[arg-type]
        assert json.loads(ws.recv(timeout=20))["seq"] == 1


def events_of(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    current: dict[str, str] = {}
    for line in lines:
        if not line and current:
            yield current
            current = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            current[name] = value


def test_server_sent_events_are_numbered_and_end_with_the_run(front: Front, account: Caller, story: Story) -> None:
    seq = story.open_text()
    headers = account.headers | {"Accept": "text/event-stream"}
    found, text = [], ""
    with httpx.stream("GET", f"{front.url}{story.path}/events", headers=headers, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        for item in events_of(answer.iter_lines()):
            found.append(item)
            if item["event"] == "model.started":
                story.delta(seq, "hello")
            if item["event"] == "model.delta":
                text += json.loads(item["data"])["data"]["text"]
                story.close_text(seq)
                story.finish()
    assert text == "hello"
    assert [item.get("id") for item in found] == ["1", "2", None, "3", "4"]


def test_last_event_id_wins_over_after(front: Front, account: Caller, story: Story) -> None:
    story.many(3)
    story.finish()
    headers = account.headers | {"Accept": "text/event-stream", "Last-Event-ID": "3"}
    answer = httpx.get(f"{front.url}{story.path}/events?after=0", headers=headers)
    assert [item["id"] for item in events_of(answer.text.splitlines())] == ["4", "5"]
    assert httpx.get(f"{front.url}{story.path}/events", headers=headers | {"Last-Event-ID": "x"}).status_code == 400


def test_without_postgres_the_answer_is_503_and_it_recovers(
    front: Front, account: Caller, story: Story, viewer: Viewer, postgres_server: PostgresServer
) -> None:
    until(lambda: viewer.after == 1)
    postgres_server.stop()
    try:
        answer = front.post("/v1/tasks", account, json=PROBE)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["code"] == "database_unavailable"
        assert answer.json()["retryable"]
        assert front.get("/readyz", account).status_code == 503
    finally:
        postgres_server.start()
    until(lambda: front.post("/v1/tasks", account, json=PROBE).status_code == 202)
    until(lambda: front.get("/readyz", account).status_code == 200)
    story.finish()
    assert viewer.finish() == [1, 2]


def test_a_submit_without_redis_is_still_accepted_in_time(
    front: Front, account: Caller, fresh_redis: RedisServer
) -> None:
    fresh_redis.freeze()
    began = time.monotonic()
    answer = front.post("/v1/tasks", account, json=PROBE)
    taken = time.monotonic() - began
    assert answer.status_code == 202
    assert front.get(answer.headers["Location"], account).json()["status"] == "queued"
    assert taken < 10
    ready = front.get("/readyz", account)
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert not ready.json()["checks"]["redis"]["ok"]


def test_a_chunked_body_over_the_limit_is_refused(front: Front, account: Caller) -> None:
    def chunks() -> Any:
        for _ in range(12):
            yield b" " * 1024 * 1024

    headers = {"Content-Type": "application/json"}
    answer = front.post("/v1/tasks", account, content=chunks(), headers=headers)
    assert answer.status_code == 413


def test_many_requests_at_once_are_answered(front: Front, account: Caller) -> None:
    with httpx.Client(headers=account.headers, timeout=60) as client:
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.append(client.post(f"{front.url}/v1/tasks", json=PROBE).status_code))
            for _ in range(60)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [202] * 60


def test_a_page_of_events_and_the_end_of_the_run_belong_together(database: Database, story: Story) -> None:
    """The end may be committed between the two statements that read a page."""

    def read(connection: Any) -> Page:
        late = _EndsInBetween(connection, story)
        return events.after(late, story.scope, story.task_id, 0, 100)  # type: ignore[arg-type]

    page = database.run(read)
    assert [frame["seq"] for frame in page.frames] == [1]
    assert (page.last_seq, page.terminal) == (1, False)


class _EndsInBetween:
    """A connection on which the task ends after the first statement."""

    def __init__(self, connection: Any, story: Story) -> None:
        self._connection, self._story, self._ended = connection, story, False

    def exec_driver_sql(self, *arguments: Any) -> Any:
        answer = self._connection.exec_driver_sql(*arguments)
        if not self._ended:
            self._ended = True
            self._story.finish()
        return answer
