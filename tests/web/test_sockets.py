"""The WebSocket itself: whole frames, its handshake and its end, and no patience without end."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.sync.client import ClientConnection, connect
from websockets.uri import parse_uri

from tests.web.conftest import Caller, Front, until
from tests.web.story import Story
from web import websocket
from web.api import subscriptions
from web.api.subscriptions import Conversation
from web.services import Services
from web.websocket import WebSocket, text_frame


@pytest.fixture
def pair() -> Iterator[tuple[WebSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ws = WebSocket(ours)
    yield ws, theirs
    ws.release()
    theirs.close()


def test_everything_is_sent_although_the_kernel_takes_only_a_part(pair: tuple[WebSocket, socket.socket]) -> None:
    ws, theirs = pair
    data = os.urandom(3_000_000)
    sender = threading.Thread(target=ws.send, args=([data[:1_000_000], data[1_000_000:]],))
    sender.start()
    got = b""
    while len(got) < len(data):
        got += theirs.recv(65536)
    sender.join()
    assert got == data


def test_a_peer_that_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "SEND_TIMEOUT_S", 0.2)
    ours, theirs = socket.socketpair()
    ws = WebSocket(ours)
    with pytest.raises(TimeoutError):
        ws.send([bytes(10_000_000)])
    assert not ws.open
    ws.close(1000)  # nothing more is sent: the last frame may be torn
    ws.release()
    theirs.settimeout(20)
    while theirs.recv(1_000_000):
        pass
    theirs.close()


@pytest.mark.parametrize("text", ["", "ä" * 60, "x" * 125, "x" * 126, "x" * 65_535, "x" * 65_536])
def test_frames_of_every_length_are_read_by_another_implementation(text: str) -> None:
    protocol = ClientProtocol(parse_uri("ws://localhost"), state=OPEN)
    protocol.receive_data(text_frame(text))
    (frame,) = protocol.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, frame.fin, bytes(frame.data).decode()) == (Opcode.TEXT, True, text)


def hand_shaken(front: Front, account: Caller, **headers: str) -> int:
    asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"} | headers
    return front.get("/v1/stream", account, headers=asked).status_code


def test_a_wrong_handshake_is_refused(front: Front, account: Caller) -> None:
    assert hand_shaken(front, account) == 400
    assert hand_shaken(front, account, **{"Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "8"}) == 400


def test_a_message_may_come_in_pieces_but_not_be_too_long(front: Front, account: Caller) -> None:
    with connect(f"{front.sockets}/v1/stream", additional_headers=account.headers) as ws:
        ws.send(['{"action"', ': "ping"', "}"])
        assert json.loads(ws.recv(timeout=20)) == {"type": "pong"}
        ws.send(b'{"action": "ping"}')
        assert json.loads(ws.recv(timeout=20)) == {"type": "pong"}
        pong = ws.ping()
        assert pong.wait(20)
        ws.send("x" * (websocket.MESSAGE_MAX + 1))
        with pytest.raises(ConnectionClosed) as caught:
            ws.recv(timeout=20)
        assert caught.value.rcvd is None or caught.value.rcvd.code == 1009


def test_a_socket_that_closes_is_answered_and_gives_its_place_back(front: Front, account: Caller) -> None:
    def opened() -> float:
        lines = front.get("/metrics", account).text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("websocket_connections "))

    before = opened()
    with connect(f"{front.sockets}/v1/stream", additional_headers=account.headers) as ws:
        until(lambda: opened() == before + 1)
        ws.close(4000, "bye")
        assert ws.close_code == 4000
    until(lambda: opened() == before)


def test_a_client_that_floods_the_server_is_dropped(front: Front, account: Caller) -> None:
    def flood(ws: ClientConnection) -> None:
        for _ in range(2_000_000):
            ws.send('{"action": "ping"}')

    url = parse_uri(f"{front.sockets}/v1/stream")
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # answers nobody reads soon fill it
    narrow.connect((url.host, url.port))
    with connect(f"{front.sockets}/v1/stream", sock=narrow, additional_headers=account.headers, max_queue=1) as ws:
        with pytest.raises((ConnectionClosed, OSError)):
            flood(ws)
    assert front.alive()


def test_one_socket_follows_only_so_many_tasks(
    app: Flask, held: Services, account: Caller, new_story: Callable[[Caller], Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS_MAX", 1)
    first, second = new_story(account), new_story(account)
    with app.app_context(), held.reader() as reader:
        conversation = Conversation(held, reader, account.scope, None, "r")

        def subscribe(story: Story) -> str:
            text = json.dumps({"action": "subscribe", "task_id": str(story.task_id)})
            return str(json.loads(conversation.answer(text))["type"])

        assert [subscribe(first), subscribe(second), subscribe(first)] == ["subscribed", "error", "subscribed"]
