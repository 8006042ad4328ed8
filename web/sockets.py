"""WebSockets: who may open one, a socket that can't hang or tear a frame, and the loop that serves it.

simple-websocket sends with `socket.send`, which may write only a part; two threads of one connection send (frames
and pongs); and a peer that never reads would block its sender for ever. :class:`GuardedSocket` mends all three.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

from flask import Flask, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed
from wsproto import WSConnection
from wsproto.events import TextMessage

from config.settings import Settings
from models.events import EventType
from web import metrics
from web.errors import Forbidden
from web.json import dumps
from web.stream import Envelope, Reader

#: A peer that takes nothing for this long is dropped.
SEND_TIMEOUT_S = 20.0
#: Longest message a client may send, and how many it may send ahead of being read.
MESSAGE_MAX = 64 * 1024
MESSAGES_AHEAD = 100
NORMAL, GOING_AWAY, BROKEN = 1000, 1001, 1011
_SOCKET_KEYS = ("gunicorn.socket", "werkzeug.socket")

log = logging.getLogger(__name__)

#: Gets each text that comes in; what it returns is sent back.
Listener = Callable[[str], str | None]

sock = Sock()


class WebSocket(Protocol):
    """What is used of simple_websocket.Server."""

    connected: bool
    event: "WakingEvent"
    input_buffer: list[str | bytes]
    sock: Any
    ws: WSConnection
    close_reason: int
    close_message: str | None

    def send(self, data: str) -> None:
        """Send a text message."""

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Return the next message, or None after the timeout."""

    def close(self, reason: int | None = None, message: str | None = None) -> None:
        """Send a close frame."""


class WakingEvent(threading.Event):
    """An event that also tells someone else; simple-websocket sets it on every message and at the end."""

    on_set: Callable[[], None] | None = None

    def set(self) -> None:
        """Set it, and tell."""
        super().set()
        if self.on_set is not None:
            self.on_set()


class GuardedSocket:
    """Looks like the connection's socket; `send` writes everything or fails, one caller at a time."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        inner.settimeout(SEND_TIMEOUT_S)

    def send(self, data: bytes) -> int:
        """Send all of `data`; a peer that does not read for too long loses its connection."""
        with self._lock:
            try:
                self._inner.sendall(data)
            except OSError:
                self._abort()
                raise
        return len(data)

    def recv(self, size: int) -> bytes:
        """Read what there is; called when there is something."""
        return self._inner.recv(size)

    def fileno(self) -> int:
        """Let selectors wait for it."""
        return self._inner.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def _abort(self) -> None:
        with contextlib.suppress(OSError):
            self._inner.shutdown(socket.SHUT_RDWR)


def limit_sending(environ: dict[str, Any]) -> None:
    """Give up on this request's peer if it takes nothing for SEND_TIMEOUT_S."""
    for key in _SOCKET_KEYS:
        if key in environ:
            environ[key].settimeout(SEND_TIMEOUT_S)


def guard(environ: dict[str, Any]) -> None:
    """Make this request's WebSocket use a guarded socket, without compression (which costs 250 KB a connection)."""
    environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
    for key in _SOCKET_KEYS:
        if key in environ:
            environ[key] = GuardedSocket(environ[key])


def check_origin(settings: Settings) -> None:
    """Refuse pages of other sites; programs send no Origin.

    Raises:
        Forbidden: the origin is neither the server's own nor allowed.
    """
    origin = request.headers.get("Origin")
    if origin is None or origin in settings.allowed_origins:
        return
    parts = urlsplit(origin)
    if parts.scheme not in {"http", "https"} or parts.netloc != request.host:
        raise Forbidden


def init_app(app: Flask, settings: Settings) -> None:
    """Configure WebSockets of `app`: a ping every heartbeat, and one missed pong ends the connection."""
    app.config["SOCK_SERVER_OPTIONS"] = {
        "ping_interval": settings.heartbeat_s,
        "max_message_size": MESSAGE_MAX,
        "event_class": WakingEvent,
    }


def serve(ws: WebSocket, reader: Reader, heartbeat_s: float, on_message: Listener, *, ends: bool) -> None:
    """Send what `reader` gives and hand over what comes in, until the peer leaves.

    Args:
        ws: the open connection.
        reader: where frames come from.
        heartbeat_s: seconds between heartbeat frames.
        on_message: gets each text that comes in.
        ends: close once everything the reader follows has ended.
    """
    with metrics.websockets.track_inprogress():
        try:
            _serve(ws, reader, heartbeat_s, on_message, ends=ends)
        except ConnectionClosed:
            return
        except OSError:
            ws.connected = False  # the peer left or does not read; nothing more can be said to it
        except Exception:
            log.exception("stream failed")
            ws.close(BROKEN, "something broke on our side; resume from the last event")
        finally:
            ws.event.on_set = None
            metrics.overflows.inc(reader.mailbox.overflows)


def _serve(ws: WebSocket, reader: Reader, heartbeat_s: float, on_message: Listener, *, ends: bool) -> None:
    ws.event.on_set = lambda: _noticed(ws, reader)
    due = time.monotonic() + heartbeat_s
    while ws.connected and not reader.mailbox.closed:
        _send(ws, reader.next(max(0.0, due - time.monotonic())))
        _take_in(ws, on_message)
        if ends and reader.finished:
            ws.close(NORMAL)
            return
        if time.monotonic() >= due:
            ws.send(dumps({"type": EventType.HEARTBEAT, "data": {}}))
            due = time.monotonic() + heartbeat_s
    if ws.connected:
        ws.close(GOING_AWAY, "the server is shutting down; resume from the last event")


def _send(ws: WebSocket, envelopes: list[Envelope]) -> None:
    """Send messages together, as `ws.send` would one by one: a burst costs a system call for many frames."""
    if not envelopes:
        return
    if not ws.connected:
        raise ConnectionClosed(ws.close_reason, ws.close_message)
    ws.sock.send(b"".join(ws.ws.send(TextMessage(envelope.text)) for envelope in envelopes))


def _noticed(ws: WebSocket, reader: Reader) -> None:
    """Something came in: wake the loop, or drop a client that sends faster than it is read."""
    if len(ws.input_buffer) > MESSAGES_AHEAD:
        ws.input_buffer.clear()
        ws.sock.close()
        ws.connected = False
    reader.mailbox.wake()


def _take_in(ws: WebSocket, on_message: Listener) -> None:
    while ws.input_buffer:
        message = ws.receive(timeout=0)
        if message is None:
            return
        answer = on_message(message if isinstance(message, str) else message.decode(errors="replace"))
        if answer is not None:
            ws.send(answer)
