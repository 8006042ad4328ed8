"""Streams over gunicorn with real clients: exactly 1..n, whatever happens to sockets, Redis and PostgreSQL."""

import json
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.sync.client import connect

from local.redis import RedisServer
from models.pubsub import task_channel, text_key
from tests.web.conftest import Caller, Front, until
from tests.web.story import Story
from tests.web.viewer import Viewer


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
    with connect(f"{front.sockets}/v1/stream", additional_headers=account.headers | {"X-Request-Id": "asked-1"}) as ws:
        for message in bad:
            ws.send(message)
            answer = json.loads(ws.recv(timeout=20))
            assert answer["type"] == "error", message
            assert answer["error"]["status"] in {400, 404, 422}
            assert answer["error"]["request_id"] == "asked-1"
        ws.send('{"action": "ping"}')
        assert json.loads(ws.recv(timeout=20)) == {"type": "pong"}


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
