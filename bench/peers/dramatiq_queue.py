"""Dramatiq as it comes (a process per core, 8 threads each), results kept in Redis."""

from __future__ import annotations

import os
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from bench.peers.program import serve

REDIS = os.environ["BENCH_REDIS_URL"]
broker = RedisBroker(url=REDIS)
broker.add_middleware(Results(backend=RedisBackend(url=REDIS)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def noop() -> float:
    """Nothing but the time."""
    return time.time()


class DramatiqQueue:
    """`send()`, then `get_result()` of each."""

    def __init__(self) -> None:
        self._messages: list[dramatiq.Message] = []

    def submit(self, count: int) -> None:
        """Submit tasks."""
        self._messages.extend(noop.send() for _ in range(count))

    def wait(self) -> list[float]:
        """Return the results of all."""
        messages, self._messages = self._messages, []
        return [message.get_result(block=True, timeout=120_000) for message in messages]


if __name__ == "__main__":
    serve(DramatiqQueue())
