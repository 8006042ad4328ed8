"""WebSockets: who may open one, and the loop that serves it in a greenlet of its own.

The request ends with the upgrade. Its greenlet, with Flask's frames and everything they hold, would cost each socket
more memory than all the rest.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

import gevent
from flask import Response, request

from config.settings import Settings
from models.events import EventType
from web import metrics
from web.errors import Forbidden
from web.json import dumps
from web.stream import Envelope, Reader
from web.websocket import BROKEN, GOING_AWAY, NORMAL, POLICY, WebSocket, accept, text_frame

log = logging.getLogger(__name__)

#: Gets each text that comes in; what it returns is sent back.
Listener = Callable[[str], str | None]
_HEARTBEAT = text_frame(dumps({"type": EventType.HEARTBEAT, "data": {}}))


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


class Taken(Response):
    """The answer of a request whose connection was taken over."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Tell gunicorn that nothing is left to answer; it lets go of the connection."""
        raise StopIteration


def upgrade(leaving: ExitStack, reader: Reader, heartbeat_s: float, on_message: Listener, *, ends: bool) -> Taken:
    """Accept this request's WebSocket, and serve it from now on in a greenlet of its own.

    Args:
        leaving: closed when the socket is; the caller's if this raises.
        reader: where frames come from.
        heartbeat_s: seconds between heartbeats, each with a ping; a ping without pong ends the connection.
        on_message: gets each text that comes in.
        ends: close once everything the reader follows has ended.

    Raises:
        BadRequest: the client's handshake is wrong.
        OSError: the client is gone.
    """
    ws = accept(request.environ)
    gevent.spawn(serve, ws, leaving.pop_all(), reader, heartbeat_s, on_message, ends)
    return Taken(status=101)


def serve(
    ws: WebSocket, leaving: ExitStack, reader: Reader, heartbeat_s: float, on_message: Listener, ends: bool
) -> None:
    """Send what `reader` gives and hand over what comes in, until the peer leaves; the arguments are `upgrade`'s."""
    metrics.websockets.inc()
    try:
        ws.listen(reader.mailbox.wake)
        _serve(ws, reader, heartbeat_s, on_message, ends)
    except OSError:
        return  # the peer left or does not read; nothing more can be said to it
    except Exception:
        log.exception("stream failed")
        with suppress(OSError):
            ws.close(BROKEN, "something broke on our side; resume from the last event")
    finally:
        ws.release()
        leaving.close()
        metrics.overflows.inc(reader.mailbox.overflows)
        metrics.websockets.dec()


def _serve(ws: WebSocket, reader: Reader, heartbeat_s: float, on_message: Listener, ends: bool) -> None:
    due = time.monotonic() + heartbeat_s
    while ws.open and not reader.mailbox.closed:
        envelopes = reader.next(max(0.0, due - time.monotonic()))
        if envelopes:
            ws.send([_wire(envelope) for envelope in envelopes])
        for message in ws.receive():
            answer = on_message(message)
            if answer is not None:
                ws.send([text_frame(answer)])
        if ends and reader.finished:
            ws.close(NORMAL)
        elif time.monotonic() >= due:
            _beat(ws)
            due = time.monotonic() + heartbeat_s
    ws.close(GOING_AWAY, "the server is shutting down; resume from the last event")


def _beat(ws: WebSocket) -> None:
    if ws.silent:
        ws.close(POLICY, "the last ping was not answered")
    else:
        ws.send([_HEARTBEAT, ws.ping()])


def _wire(envelope: Envelope) -> bytes:
    """Return the frame as all WebSockets send it."""
    if envelope.wire is None:
        envelope.wire = text_frame(envelope.text)
    return envelope.wire
