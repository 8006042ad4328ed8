"""One WebSocket, served by one greenlet: frames are wsproto's, waiting is gevent's.

A thread that reads beside the one that sends (as simple-websocket has) costs twice the memory, a selector for each
socket, and locks between the two. Here a watcher of the event loop notes that something came in and wakes the greenlet,
which reads when it is not sending; so what a client sends is read no faster than it is answered.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from gevent import get_hub
from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import FrameProtocol
from wsproto.utilities import LocalProtocolError, generate_accept_token

from web.errors import BadRequest

#: A peer that takes nothing for this long is dropped.
SEND_TIMEOUT_S = 20.0
#: Longest message a client may send.
MESSAGE_MAX = 64 * 1024
NORMAL, GOING_AWAY, POLICY, TOO_BIG, BROKEN = 1000, 1001, 1008, 1009, 1011
_SOCKET = "gunicorn.socket"
_READ = 1
_RECEIVE = 4096

#: Whole unmasked frames need no state of a connection.
_frames = FrameProtocol(client=False, extensions=[])


def text_frame(text: str) -> bytes:
    """Return a text message as it goes over any server's WebSocket."""
    return bytes(_frames.send_data(text))


class WebSocket:
    """An open connection. Only one greenlet may use it, apart from the event loop, which wakes that one.

    Compression is never agreed to: it would cost 250 KB a connection.
    """

    __slots__ = ("_connection", "_length", "_parts", "_pong_missing", "_readable", "_sock", "_wake", "_watcher", "open")

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(SEND_TIMEOUT_S)
        self._sock = sock
        self._connection = Connection(ConnectionType.SERVER)
        self._watcher: Any = None
        self._wake: Callable[[], None] | None = None
        self._readable = False
        self._pong_missing = False
        self._parts: list[str | bytes] | None = None
        self._length = 0
        self.open = True

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called by the event loop whenever something came in; it must not block."""
        self._wake = wake
        self._watcher = get_hub().loop.io(self._sock.fileno(), _READ)
        self._watcher.start(self._notice)

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames together: a burst costs a system call for many.

        Raises:
            OSError: the peer is gone, or took nothing for too long; then no more can be sent.
        """
        if not self.open:
            return
        try:
            self._sock.sendall(b"".join(frames))
        except OSError:
            self.open = False  # part of a frame may be out
            raise

    def ping(self) -> bytes:
        """Return a ping to send; the pong must come before the next."""
        self._pong_missing = True
        return bytes(self._connection.send(Ping()))

    @property
    def silent(self) -> bool:
        """Whether the last ping is not answered."""
        return self._pong_missing

    def receive(self) -> list[str]:
        """Return the messages that came in, without waiting. Raises as `send` does."""
        if not self._readable:
            return []
        self._readable = False
        data = self._sock.recv(_RECEIVE)
        if not data:
            self.open = False
            return []
        messages: list[str] = []
        try:
            self._connection.receive_data(data)
            for event in self._connection.events():
                self._take(event, messages)
                if not self.open:
                    return []
        except LocalProtocolError:
            self.open = False
        if self.open and self._watcher is not None:
            self._watcher.start(self._notice)
        return messages

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye, if there is anyone to hear it. Raises as `send` does."""
        if self.open and self._connection.state in {ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING}:
            self.send([self._connection.send(CloseConnection(code, reason))])
        self.open = False

    def release(self) -> None:
        """Let go of the socket."""
        self.open = False
        self._wake = None
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        self._sock.close()

    def _notice(self) -> None:
        self._watcher.stop()  # or the loop would say so again and again until it is read
        self._readable = True
        if self._wake is not None:
            self._wake()

    def _take(self, event: Event, messages: list[str]) -> None:
        if isinstance(event, TextMessage | BytesMessage):
            self._gather(event, messages)
        elif isinstance(event, Ping):
            self.send([self._connection.send(event.response())])
        elif isinstance(event, Pong):
            self._pong_missing = False
        elif isinstance(event, CloseConnection):
            self.close(event.code, event.reason or "")

    def _gather(self, event: TextMessage | BytesMessage, messages: list[str]) -> None:
        self._parts = self._parts or []
        self._parts.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
        self._length += len(event.data)
        if self._length > MESSAGE_MAX:
            self.close(TOO_BIG, "a message may be at most 64 KiB long")
        elif event.message_finished:
            messages.append(_joined(self._parts))
            self._parts, self._length = None, 0


def accept(environ: dict[str, Any]) -> WebSocket:
    """Answer a request to upgrade, and return its WebSocket, which lives on when the request has ended.

    The router has seen that the request asks for a WebSocket.

    Raises:
        BadRequest: the client's handshake is not what RFC 6455 asks for.
        OSError: the client is gone.
    """
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
    if not key or environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13":
        raise BadRequest("A WebSocket needs the headers Sec-WebSocket-Key and Sec-WebSocket-Version: 13.")
    token = generate_accept_token(key.encode("latin-1")).decode()
    lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    answer = "\r\n".join((*lines, f"Sec-WebSocket-Accept: {token}", "", ""))
    # A duplicate: gunicorn closes its own when the request ends, and all the request needed is freed.
    ws = WebSocket(environ[_SOCKET].dup())
    try:
        ws.send([answer.encode()])
    except OSError:
        ws.release()
        raise
    return ws


def limit_sending(environ: dict[str, Any]) -> None:
    """Give up on this request's peer if it takes nothing for SEND_TIMEOUT_S."""
    if _SOCKET in environ:
        environ[_SOCKET].settimeout(SEND_TIMEOUT_S)


def _joined(parts: list[str | bytes]) -> str:
    text = "".join(part for part in parts if isinstance(part, str))
    return text or b"".join(part for part in parts if isinstance(part, bytes)).decode(errors="replace")
