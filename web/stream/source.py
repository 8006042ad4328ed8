"""Where readers look things up: rows in PostgreSQL, streamed texts in Redis."""

import time
from uuid import UUID

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from config.settings import Settings
from models.database import Database
from models.pubsub import text_key
from models.repositories import events
from models.scope import AccountScope
from web.stream.cursor import Cursor

PAGE = 200


class Source:
    """Reads for readers. Rows raise when PostgreSQL is unavailable; texts are best effort."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._pause_s = settings.redis_pause_s
        self._paused_until = 0.0
        self._redis = redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            protocol=2,
            socket_timeout=settings.redis_timeout_s,
            socket_connect_timeout=settings.redis_timeout_s,
            retry=Retry(NoBackoff(), 0),
            max_connections=16,
        )

    def page(self, scope: AccountScope, task_id: UUID, after: int) -> events.Page:
        """Return the next frames of a task.

        Raises:
            models.errors.NotFound: the account has no such task.
            models.errors.Unavailable: PostgreSQL can't be reached.
        """
        return self._database.read(lambda connection: events.after(connection, scope, task_id, after, PAGE))

    def join(self, scope: AccountScope, task_id: UUID, cursor: Cursor) -> events.Page:
        """Return the first page for a reader that has seen everything up to its cursor, and find its open texts.

        A cursor beyond the end is set to the end. Raises as `page` does.
        """
        seen = cursor.seq
        page, texts = self._database.read(lambda connection: events.join(connection, scope, task_id, seen, PAGE))
        cursor.seq = min(seen, page.last_seq)
        for started in texts:
            cursor.open_text(started)
        return page

    def text(self, task_id: UUID, started_seq: int) -> str | None:
        """Return the text streamed so far, or None if Redis has none or can't say."""
        if time.monotonic() < self._paused_until:
            return None
        try:
            found = self._redis.get(text_key(task_id, started_seq))
        except (RedisError, OSError):
            self._paused_until = time.monotonic() + self._pause_s
            return None
        return found.decode(errors="replace") if isinstance(found, bytes) else None

    def close(self) -> None:
        """Close the connections to Redis."""
        self._redis.close()
