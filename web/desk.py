"""Where the front lays questions that only workers can answer, and waits for the answer."""

import json
import secrets
import time
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from config.settings import Settings
from models.pubsub import DESK, DESK_TTL_S, desk_answer
from models.scope import AccountScope
from worker.patterns.passages.finding import Sought
from worker.patterns.questions import pack
from worker.patterns.retrieval import Question


class Desk:
    """Where workers take questions; after a failure of Redis nothing is asked for a while."""

    def __init__(self, settings: Settings) -> None:
        self._patience_s = settings.patterns_timeout_s + settings.redis_timeout_s
        self._pause_s, self._pause_until = settings.redis_pause_s, 0.0
        self._pepper = settings.key_pepper.get_secret_value()
        self._redis = redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=self._patience_s + settings.redis_timeout_s,
            socket_connect_timeout=settings.redis_timeout_s,
            retry=Retry(NoBackoff(), 0),
        )

    def ask(self, scope: AccountScope, question: Question, sought: Sought | None = None) -> dict[str, Any] | None:
        """Return a worker's answer; None if none came."""
        if time.monotonic() < self._pause_until:
            return None
        name = secrets.token_urlsafe(16)
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.rpush(DESK, pack(self._pepper, name, scope, question, sought))
                pipe.expire(DESK, DESK_TTL_S)
                pipe.execute()
            told = cast(Any, self._redis.blpop([desk_answer(name)], timeout=self._patience_s))
        except (RedisError, OSError):
            self._pause_until = time.monotonic() + self._pause_s
            return None
        return None if told is None else dict(json.loads(told[1]))

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()
