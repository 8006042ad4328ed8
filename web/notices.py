"""Reads, from Redis, how providers of models stand; without Redis nobody knows, and nobody waits for long."""

import time
from collections.abc import Sequence

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from config.settings import Settings

PATIENCE_S = 0.5


class Notices:
    """The notices workers put up; after a failure Redis is left alone for a while."""

    def __init__(self, settings: Settings) -> None:
        self._pause_s = settings.redis_pause_s
        self._pause_until = 0.0
        self._redis = redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=PATIENCE_S,
            socket_connect_timeout=PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
        )

    def which(self, names: Sequence[str]) -> set[str] | None:
        """Return those of the names under which there is a notice now; None if Redis can't say."""
        if not names or time.monotonic() < self._pause_until:
            return None
        try:
            found = self._redis.mget(names)
        except (RedisError, OSError):
            self._pause_until = time.monotonic() + self._pause_s
            return None
        return {name for name, code in zip(names, found, strict=True) if code is not None}

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()
