"""The guarded socket: whole frames, one sender at a time, and no patience without end."""

import json
import os
import socket
import threading
from collections.abc import Callable

import pytest
from flask import Flask
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.web.conftest import Caller, Front
from tests.web.story import Story
from web import sockets
from web.api import subscriptions
from web.api.subscriptions import Conversation
from web.services import Services
from web.sockets import GuardedSocket


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def test_everything_is_sent_although_the_kernel_takes_only_a_part(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    guarded, data = GuardedSocket(ours), os.urandom(3_000_000)
    sender = threading.Thread(target=guarded.send, args=(data,))
    sender.start()
    got = b""
    while len(got) < len(data):
        got += theirs.recv(65536)
    sender.join()
    guarded.close()
    theirs.close()
    assert got == data


def test_senders_do_not_tear_each_other_s_frames(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    guarded = GuardedSocket(ours)
    frames = [bytes([number]) * 400_000 for number in range(4)]
    senders = [threading.Thread(target=guarded.send, args=(frame,)) for frame in frames]
    for sender in senders:
        sender.start()
    got = b""
    while len(got) < 1_600_000:
        got += theirs.recv(65536)
    for sender in senders:
        sender.join()
    guarded.close()
    theirs.close()
    assert sorted(got[at : at + 400_000] for at in range(0, 1_600_000, 400_000)) == frames


def test_a_peer_that_never_reads_loses_its_connection(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SEND_TIMEOUT_S", 0.2)
    ours, theirs = pair
    guarded = GuardedSocket(ours)
    with pytest.raises(TimeoutError):
        guarded.send(bytes(10_000_000))
    theirs.settimeout(20)
    while theirs.recv(1_000_000):
        pass
    guarded.close()
    theirs.close()


def test_a_client_that_floods_the_server_is_dropped(front: Front, account: Caller) -> None:
    def flood(ws: ClientConnection) -> None:
        for _ in range(2_000_000):
            ws.send('{"action": "ping"}')

    with connect(f"{front.sockets}/v1/stream", additional_headers=account.headers, max_queue=1) as ws:
        with pytest.raises((ConnectionClosed, OSError)):
            flood(ws)
    assert front.alive()


def test_one_socket_follows_only_so_many_tasks(
    app: Flask, held: Services, account: Caller, new_story: Callable[[Caller], Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS_MAX", 1)
    first, second = new_story(account), new_story(account)
    with app.app_context(), held.reader() as reader:
        conversation = Conversation(held, reader, account.scope, None)

        def subscribe(story: Story) -> str:
            text = json.dumps({"action": "subscribe", "task_id": str(story.task_id)})
            return str(json.loads(conversation.answer(text))["type"])

        assert [subscribe(first), subscribe(second), subscribe(first)] == ["subscribed", "error", "subscribed"]
