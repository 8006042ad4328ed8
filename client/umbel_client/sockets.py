"""Opening WebSockets to the server and reading what they say."""

import json
import time
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect

from umbel_client.errors import ConnectionFailed, UnexpectedAnswer
from umbel_client.http import USER_AGENT, Http, reason

LARGEST_MESSAGE = 32 * 1024 * 1024  # bytes
GOODBYE_S = 0.5


def open_socket(http: Http, path: str) -> ClientConnection:
    """A WebSocket to `path`, for use in a `with` block. Raises OSError or WebSocketException."""
    settings = http.settings
    return connect(
        f"ws{settings.url.removeprefix('http')}{path}",
        additional_headers=http.authorization,
        user_agent_header=USER_AGENT,
        proxy=None if settings.loopback else True,
        open_timeout=http.timeout_s,
        close_timeout=1,
        max_size=LARGEST_MESSAGE,
    )


def parse_message(message: str | bytes) -> dict[str, Any]:
    """The JSON object in one message; raises UnexpectedAnswer for anything that has no type."""
    try:
        raw = json.loads(message)
    except ValueError:
        raw = None
    if not isinstance(raw, dict) or "type" not in raw:
        raise UnexpectedAnswer(
            "The stream sent something that is not an event. Check the versions with `umbel doctor`."
        )
    return raw


def receive(socket: ClientConnection, timeout_s: float) -> str | bytes:
    """The next message. Raises TimeoutError after silence, OSError or WebSocketException when the connection is over.

    The library's own recv() goes on waiting when the server has said goodbye and keeps the TCP connection open.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return socket.recv(timeout=min(GOODBYE_S, timeout_s))
        except TimeoutError:
            if socket.state is not State.OPEN:
                raise ConnectionResetError("the server closed the stream") from None
            if time.monotonic() >= deadline:
                raise


def ping(http: Http) -> float:
    """Seconds from a ping message on the many-task socket to its pong. Raises ConnectionFailed."""
    try:
        with open_socket(http, "/v1/stream") as socket:
            sent = time.monotonic()
            socket.send(json.dumps({"action": "ping"}))
            while parse_message(receive(socket, http.timeout_s))["type"] != "pong":
                pass
            return time.monotonic() - sent
    except (OSError, WebSocketException) as error:
        raise ConnectionFailed(f"No WebSocket can be opened: {reason(error)}.") from error
