"""Server-sent events: the same reader as a WebSocket has, written as text."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import UUID

from flask import Response, request

from models.events import UNNUMBERED
from models.scope import AccountScope
from web.errors import BadRequest
from web.schemas.events import SEQ_MAX
from web.services import Services
from web.stream import Envelope, Reader
from web.websocket import limit_sending

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE_S = 15.0
_KEEP_ALIVE = ": keep-alive\n\n"


def last_event_id(after: int) -> int:
    """Return where to go on: the Last-Event-ID header, which a browser sends by itself, wins over `after`.

    Raises:
        BadRequest: the header is not an event number.
    """
    header = request.headers.get("Last-Event-ID", "").strip()
    if not header:
        return after
    if not (header.isascii() and header.isdigit()) or int(header) > SEQ_MAX:
        wrong = {"field": "Last-Event-ID", "message": "Malformed", "allowed": "an event number"}
        raise BadRequest("The Last-Event-ID header is malformed.", [wrong])
    return int(header)


def respond(held: Services, scope: AccountScope, task_id: UUID, after: int) -> Response:
    """Stream a task's events from the one after `after`.

    Raises:
        models.errors.NotFound: the account has no such task.
        models.errors.Unavailable: PostgreSQL can't be reached.
        models.errors.NoFreePlace: the process has no place left.
    """
    held.source.page(scope, task_id, after)  # fails before the answer begins
    leaving = ExitStack()
    reader = leaving.enter_context(held.reader())
    limit_sending(request.environ)
    response = Response(_events(reader, scope, task_id, after), content_type=MEDIA_TYPE)
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(leaving.close)
    return response


def _events(reader: Reader, scope: AccountScope, task_id: UUID, after: int) -> Iterator[str]:
    reader.watch(scope, task_id, after)
    quiet_since = time.monotonic()
    while not (reader.finished or reader.mailbox.closed):
        found = reader.next(max(0.0, quiet_since + KEEP_ALIVE_S - time.monotonic()))
        yield from map(render, found)
        if found:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since >= KEEP_ALIVE_S:
            yield _KEEP_ALIVE
            quiet_since = time.monotonic()


def render(envelope: Envelope) -> str:
    """Write one event; only durable ones have an id, because only they can be resumed from."""
    kind, seq = envelope.frame["type"], envelope.frame["seq"]
    identity = "" if kind in UNNUMBERED else f"id: {seq}\n"
    return f"{identity}event: {kind}\ndata: {envelope.text}\n\n"
