"""Ringing, noticing, publishing: what the front and the reconciler ask of Redis. Nothing here raises.

Redis is expendable: whatever can't be sent now is repaired from the rows. After a failure Redis is left
alone for a moment, so that a frozen one delays one request and not all of them.
"""

import json
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid5

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from config.settings import Settings, get_settings
from models import pubsub
from models.events import Frame
from tasks import doorbell
from tasks.queues import LEVELS, NEW, QUEUES, URGENT, level
from worker.workflows import WORKFLOWS

#: Bells for learning that may wait: they must not look like a long queue of runs.
LEARNING_MAX = 50

log = logging.getLogger(__name__)


class Line:
    """A connection pool to Redis that is put down for `redis_pause_s` after each failure."""

    def __init__(self, settings: Settings) -> None:
        seconds = settings.redis_timeout_s
        self._client = redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
            max_connections=100,
        )
        self._pause_s = settings.redis_pause_s
        self._down_until = 0.0
        self._lock = threading.Lock()

    def send(self, commands: Iterable[tuple[Any, ...]]) -> list[Any] | None:
        """Send commands in one round trip; return the answers, or None if Redis could not be reached."""
        if time.monotonic() < self._down_until:
            return None
        try:
            return self._exchange(list(commands))
        except (RedisError, OSError) as error:
            with self._lock:
                self._down_until = time.monotonic() + self._pause_s
            log.warning("redis can't be reached, going on without it", extra={"reason": type(error).__name__})
            return None

    def _exchange(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Do what a pipeline of redis-py does, which costs more than all else of a submit's ring."""
        pool = self._client.connection_pool
        connection = pool.get_connection()
        try:
            packed = connection.pack_commands(commands)  # type: ignore[no-untyped-call]
            connection.send_packed_command(packed)  # type: ignore[no-untyped-call]
            return [connection.read_response() for _ in commands]
        except BaseException:
            connection.disconnect()  # type: ignore[no-untyped-call] # answers may be left on it
            raise
        finally:
            pool.release(connection)


@lru_cache(maxsize=1)
def line() -> Line:
    """Return the process's line to Redis."""
    return Line(get_settings())


def ring(run_id: UUID, workflow: str, *, priority: int = 5, recovery: bool = False, queue: str | None = None) -> bool:
    """Ring the bell for one run, by default in its workflow's queue; return whether Redis took it."""
    return ring_all([(run_id, workflow, priority, recovery, queue)])


def ring_all(bells: Sequence[tuple[UUID, str, int, bool, str | None]]) -> bool:
    """Ring for many runs `(run id, workflow, priority, recovery, queue)` in one round trip."""
    commands = [_push(*bell) for bell in bells]
    return not commands or line().send(commands) is not None


def _push(run_id: UUID, workflow: str, priority: int, recovery: bool, asked: str | None) -> tuple[Any, ...]:
    declared = WORKFLOWS.get(workflow)
    queue = "recovery" if recovery or declared is None else declared.queue
    if asked in NEW and not recovery:
        queue = asked
    wanted = URGENT if queue == "recovery" else level(priority)
    message = doorbell.message(f"workflow.{workflow}", run_id, queue, wanted)
    return ("LPUSH", doorbell.redis_key(queue, wanted), message)


def ring_learning(run_id: UUID, workflow: str) -> bool:
    """Ring for a finished or judged run to be learned from, behind everything else; return whether it was rung.

    While workers are busy such bells wait; beyond a few, beat's look for missed runs does as well.
    """
    declared = WORKFLOWS.get(workflow)
    if declared is None or not declared.learns or not get_settings().pattern_learning:
        return False
    queue, wanted = "batch", LEVELS[-1]
    key = doorbell.redis_key(queue, wanted)
    if (lengths := line().send([("LLEN", key)])) is None or int(lengths[0]) >= LEARNING_MAX:
        return False
    told = doorbell.message("patterns.learn", run_id, queue, wanted, uuid5(run_id, "patterns.learn"))
    return line().send([("LPUSH", key, told)]) is not None


def notify(run_id: UUID) -> None:
    """Tell the worker holding this run that something is asked of it."""
    line().send([("PUBLISH", pubsub.CONTROL, str(run_id))])


def publish(frames: Sequence[Frame]) -> None:
    """Push frames written by the front."""
    line().send([("PUBLISH", pubsub.task_channel(frame["task_id"]), json.dumps(frame)) for frame in frames])


def queue_lengths() -> dict[str, int] | None:
    """Return the number of messages waiting in each queue, or None if Redis can't be reached."""
    keys = [(queue, key) for queue in QUEUES for key in doorbell.redis_keys(queue)]
    answers = line().send([("LLEN", key) for _, key in keys])
    if answers is None:
        return None
    lengths = dict.fromkeys(QUEUES, 0)
    for (queue, _), length in zip(keys, answers, strict=True):
        lengths[queue] += int(length)
    return lengths
