"""Doubles and tools for tests: a whole engine in the test's own process, on real PostgreSQL and Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import redis.asyncio
from pydantic import BaseModel, ConfigDict

from config.settings import Settings
from models.database import connect
from worker import http, llm, mcp, sandboxes
from worker.context import RunContext
from worker.engine import Engine
from worker.events import Publisher
from worker.heartbeat import Heartbeat
from worker.patterns import bank
from worker.spec import Workflow
from worker.store import Store
from worker.tools import cache


class AnyInput(BaseModel):
    """Accepts any fields."""

    model_config = ConfigDict(extra="allow")


class Bells:
    """Takes the place of the broker: remembers what was rung, and can answer the bells itself."""

    def __init__(self) -> None:
        self.rung: list[tuple[UUID, str, bool]] = []
        self.answer: Callable[[UUID], Awaitable[Any]] | None = None
        self._answering: set[asyncio.Task[Any]] = set()

    async def __call__(
        self, run_id: UUID, workflow: str, *, priority: int = 5, recovery: bool, queue: str | None = None
    ) -> bool:
        """Remember the bell; if `answer` is set, have it answered in the background."""
        self.rung.append((run_id, workflow, recovery))
        if self.answer is not None:
            task = asyncio.ensure_future(self.answer(run_id))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        return True


_functions: dict[str, Callable[[RunContext, Any], Awaitable[Any]]] = {}


def workflow(name: str, function: Callable[[RunContext, Any], Awaitable[Any]]) -> Workflow:
    """Declare a workflow whose code is a function of the test."""
    attribute = f"{name}_{len(_functions)}"
    _functions[attribute] = function
    return Workflow(name, f"test workflow {name}", "batch", AnyInput, AnyInput, f"worker.testing:{attribute}")


def __getattr__(name: str) -> Any:
    """Let the engine's loader find test functions by import path."""
    if name in _functions:
        return _functions[name]
    raise AttributeError(name)


@asynccontextmanager
async def running_engine(
    settings: Settings, workflows: Mapping[str, Workflow], *, heartbeat: bool = True
) -> AsyncIterator[Engine]:
    """Run an engine as a worker process would; without `heartbeat` it is a worker that froze.

    Args:
        settings: with the test's servers.
        workflows: what it can carry out.
        heartbeat: whether leases are renewed and requests fetched.
    """
    store = Store(connect(settings, pool_size=settings.store_threads + 2, by_key=True), settings.store_threads)
    publisher = Publisher(redis.asyncio.Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=2))
    bells = Bells()
    engine = Engine(settings, store, publisher, workflows, bells)
    bells.answer = engine.execute
    beating = Heartbeat(engine, redis.asyncio.Redis.from_url(settings.redis_url.get_secret_value()), 100)
    store.start()
    publisher.start()
    if heartbeat:
        beating.start()
    try:
        yield engine
    finally:
        await engine.drain()
        await beating.stop()
        await publisher.stop()
        await store.stop()
        await http.close()
        await llm.close()
        await mcp.close()
        await cache.close()
        await sandboxes.close()
        await bank.close()
