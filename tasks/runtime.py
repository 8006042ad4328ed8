"""Builds the engine on the pool's loop, and takes it down again."""

import asyncio
import logging
from importlib import import_module
from uuid import UUID

import redis.asyncio

from config import telemetry
from config.settings import Settings, get_settings
from models.database import connect
from tasks import dispatch
from worker import http, llm, mcp, sandboxes
from worker.engine import Engine
from worker.events import Publisher
from worker.heartbeat import Heartbeat
from worker.llm.errors import ModelFailed
from worker.patterns import bank
from worker.patterns.desk import Desk
from worker.store import Store
from worker.tools import cache
from worker.workflows import WORKFLOWS
from worker.workflows.agent import AGENT

#: Threads beside the store's that may need a connection: heartbeats.
SPARE_CONNECTIONS = 2
#: A machine that loads slower than this goes on loading beside its first runs.
WARM_MAX_S = 15.0

log = logging.getLogger(__name__)


class Runtime:
    """Everything a worker process needs to carry out runs."""

    def __init__(self, settings: Settings, capacity: int) -> None:
        size = settings.store_threads + SPARE_CONNECTIONS
        database = connect(settings, pool_size=size, application="umbel-worker", by_key=True)
        self.store = Store(database, settings.store_threads)
        self.publisher = Publisher(_redis(settings))
        self.engine = Engine(settings, self.store, self.publisher, WORKFLOWS, _ring)
        self._settings = settings
        self.desk: Desk | None = None
        self.heartbeat = Heartbeat(self.engine, _redis(settings, listening=True), capacity, _sandbox)

    def start(self) -> None:
        """Start on the running loop."""
        self.store.start()
        self.publisher.start()
        self.heartbeat.start()
        pepper = self._settings.key_pepper.get_secret_value()
        self.desk = Desk(bank.bank().retrieval, _redis(self._settings, listening=True), pepper, bank.bank().recall)
        self.desk.start()

    async def stop(self) -> None:
        """Let go of all runs at their next boundary, then close everything."""
        await self.engine.drain()
        await self.heartbeat.stop()
        if self.desk is not None:
            await self.desk.stop()
        await self.publisher.stop()
        await self.store.stop()
        await http.close()
        await llm.close()
        await mcp.close()
        await cache.close()
        await asyncio.to_thread(telemetry.end)
        await sandboxes.close()
        await bank.close()


_current: Runtime | None = None


async def start(capacity: int) -> None:
    """Start this process's runtime on the running loop."""
    global _current
    settings = get_settings()
    await asyncio.to_thread(telemetry.set_up, settings)
    _current = Runtime(settings, capacity)
    if settings.model:
        await _warm_up()
    _current.start()


async def _warm_up() -> None:
    """Load what the first agent task would otherwise wait for; what can't be loaded is that task's own error."""
    try:
        async with asyncio.timeout(WARM_MAX_S):
            await asyncio.to_thread(import_module, AGENT.run.partition(":")[0])
            (await llm.ready()).model()
    except (ModelFailed, TimeoutError) as error:
        log.warning("the model is not ready yet", extra={"reason": str(error) or "loading takes long"})


async def stop() -> None:
    """Drain and stop this process's runtime."""
    if _current is not None:
        await _current.stop()


def engine() -> Engine:
    """Return this process's engine."""
    assert _current is not None, "only a worker with the asyncio pool has an engine"
    return _current.engine


async def _sandbox() -> dict[str, str]:
    return (await sandboxes.house().choice()).told()


async def _ring(run_id: UUID, workflow: str, *, priority: int = 5, recovery: bool, queue: str | None = None) -> bool:
    return await asyncio.to_thread(dispatch.ring, run_id, workflow, priority=priority, recovery=recovery, queue=queue)


def _redis(settings: Settings, *, listening: bool = False) -> "redis.asyncio.Redis":
    seconds = settings.redis_timeout_s
    return redis.asyncio.Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_connect_timeout=seconds,
        socket_timeout=None if listening else seconds * 2,
        health_check_interval=10,
        socket_keepalive=True,
    )
