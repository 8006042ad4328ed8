"""Kombu's Redis transport, told that a message is a doorbell: it may be taken by the handful.

Kombu takes one message with each round trip, and makes a new client object for every command beside it. For no-op
runs that was two thirds of a worker's CPU. Here a busy worker takes as many as it has free slots, and one client is
kept. Select it with `broker_transport`; `ack_emulation` is off, because a bell is worth nothing once it is heard,
and one that is lost is rung again by the reconciler.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from queue import Empty
from typing import Any

from celery.worker import state
from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.scheduling import priority_cycle

from tasks.queues import PATIENT

#: Most bells taken at once: what a killed worker may have heard and not begun.
HANDFUL = 64
#: A reply that follows the last one this soon means that there is more to be had.
BUSY_S = 0.02

log = logging.getLogger(__name__)


class Slots:
    """How many tasks this process's pool holds; set when it starts."""

    limit = 1

    @property
    def spare(self) -> int:
        """Return how many slots patient tasks leave to others: a tenth, and one if there are two."""
        return min(max(1, self.limit // 10), self.limit - 1)

    def free(self) -> int:
        """Return how many more messages may be taken."""
        return self.limit - len(state.reserved_requests)


slots = Slots()


class SparingCycle(priority_cycle):  # type: ignore[misc]
    """The queues' order; with its last slots a worker listens to patient ones only if it serves no others."""

    def consume(self, n: int) -> list[str]:
        """Return the queues to listen to now."""
        wanted: list[str] = super().consume(n)
        if slots.free() > slots.spare:
            return wanted
        return [queue for queue in wanted if queue not in PATIENT] or wanted


def _shared_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Every held run keeps its message: with keys of their own, those were a seventh of what a run in flight weighs."""
    return {sys.intern(key): value for key, value in pairs}


class Channel(redis.Channel):  # type: ignore[misc]
    """Takes messages by the handful when they come fast."""

    _last_reply = 0.0

    def _brpop_read(self, **options: Any) -> bool:
        """Deliver what BRPOP found, and what waits behind it."""
        try:
            found = self._reply("BRPOP", **options)
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if not found:
            raise Empty
        key, item = found
        queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
        self._hear(item, queue)
        busy, self._last_reply = time.monotonic() - self._last_reply < BUSY_S, time.monotonic()
        left = slots.free() - (slots.spare if queue in PATIENT else 0)
        free = min(left, HANDFUL) if busy else 0
        if free > 0:
            self.client.connection.send_command("RPOP", key, free)
            for each in self._reply("RPOP") or ():
                self._hear(each, queue)
        return True

    def _reply(self, command: str, **options: Any) -> Any:
        try:
            return self.client.parse_response(self.client.connection, command, **options)
        except self.connection_errors:
            self.client.connection.disconnect()  # the next round connects anew
            raise

    def _hear(self, item: Any, queue: str) -> None:
        """Hand a message on; what is none is dropped, because one forged message must not end a worker."""
        try:
            self.connection._deliver(json.loads(item, object_pairs_hook=_shared_keys), queue)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            log.warning("not a message, dropped", extra={"queue": queue, "reason": type(error).__name__})

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Yield a client for a command; always the same one, which takes a connection from the pool each time."""
        yield client or self._sender

    @cached_property
    def _sender(self) -> Any:
        return self._create_client()


class Transport(redis.Transport):  # type: ignore[misc]
    """The Redis transport with our channel."""

    Channel = Channel
