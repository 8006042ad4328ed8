"""The process's one Redis pub/sub connection."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import RedisError, TimeoutError
from redis.retry import Retry

from config.settings import Settings

#: A connection silent for this long is asked for a sign of life, and given up after as long again.
SILENCE_S = 2.0
_RETRY_MIN_S = 0.05
_RETRY_MAX_S = 2.0
_CHUNK = 500

log = logging.getLogger(__name__)


class Listener:
    """Follows channels in a thread of its own and survives any trouble of Redis.

    Reading happens in the thread; `subscribe` and `unsubscribe` send from whichever thread calls them.
    """

    def __init__(
        self,
        settings: Settings,
        on_message: Callable[[str, bytes], None],
        on_confirmed: Callable[[str], None],
        on_change: Callable[[bool], None],
    ) -> None:
        self._pool = ConnectionPool.from_url(
            settings.redis_url.get_secret_value(),
            protocol=2,
            socket_timeout=settings.redis_timeout_s,
            socket_connect_timeout=settings.redis_timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._on_message = on_message
        self._on_confirmed = on_confirmed
        self._on_change = on_change
        self._lock = threading.Lock()
        self._channels: set[str] = set()
        self._connection: Any = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.live = False

    def start(self) -> None:
        """Start listening; harmless when started."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="umbel-listener", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread and its connection."""
        self._stopping.set()
        self._drop()
        if self._thread is not None:
            self._thread.join(5)

    def subscribe(self, channel: str) -> None:
        """Follow a channel, now or as soon as Redis is back."""
        with self._lock:
            self._channels.add(channel)
            self._send("SUBSCRIBE", channel)

    def unsubscribe(self, channel: str) -> None:
        """Stop following a channel."""
        with self._lock:
            self._channels.discard(channel)
            self._send("UNSUBSCRIBE", channel)

    def _run(self) -> None:
        delay = _RETRY_MIN_S
        while not self._stopping.is_set():
            try:
                self._listen()
            except (RedisError, OSError) as error:
                delay = _RETRY_MIN_S if self.live else min(delay * 2, _RETRY_MAX_S)
                log.info("redis lost, readers fall back to rows", extra={"reason": type(error).__name__})
            finally:
                self._drop()
            self._stopping.wait(delay)

    def _listen(self) -> None:
        connection: Any = self._pool.make_connection()
        connection.connect()
        self._adopt(connection)
        asked = True
        while not self._stopping.is_set():
            try:
                reply = connection.read_response(timeout=SILENCE_S, disconnect_on_error=False)
            except TimeoutError:
                if asked:
                    raise
                asked = True
                self._ping()
                continue
            asked = False
            self._heard(reply)

    def _adopt(self, connection: Any) -> None:
        """Subscribe to everything watched; the ping makes even an empty list answer."""
        with self._lock:
            self._connection = connection
            channels = list(self._channels)
            for start in range(0, len(channels), _CHUNK):
                connection.send_command("SUBSCRIBE", *channels[start : start + _CHUNK])
            connection.send_command("PING")

    def _heard(self, reply: Any) -> None:
        if not isinstance(reply, list) or len(reply) != 3:
            self._alive()
            return
        kind, channel, data = reply
        if kind == b"message":
            self._on_message(channel.decode(), data)
        elif kind == b"subscribe":
            self._on_confirmed(channel.decode())

    def _alive(self) -> None:
        """A ping was answered, so everything subscribed to before it is in effect."""
        if not self.live:
            self.live = True
            self._on_change(True)

    def _ping(self) -> None:
        with self._lock:
            self._send("PING")

    def _send(self, *command: str) -> None:
        if self._connection is None:
            return
        try:
            self._connection.send_command(*command)
        except (RedisError, OSError):
            self._connection = None  # the reading side notices too, and connects anew

    def _drop(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
        if self.live:
            self.live = False
            self._on_change(False)
