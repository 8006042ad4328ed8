"""Keeps a worker process's word: renews its leases, fetches requests, shows that it lives."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

import redis.asyncio
from redis.exceptions import RedisError

from config.version import VERSION
from models import pubsub
from models.errors import ModelError
from models.repositories import runs, workers
from models.scope import ENGINE
from worker.engine import Engine
from worker.llm.providers import catalogue
from worker.llm.published import Published, publish

SEEN_EVERY_S = 5.0
PAUSE_S = 1.0

#: Finds out how code can be kept in here, and returns what is told of it.
Sandbox = Callable[[], Awaitable[dict[str, str]]]

log = logging.getLogger(__name__)


class Heartbeat:
    """Coroutines beside the engine: one ticks, one hears notices that cut a tick short, one tells of sandboxes."""

    def __init__(
        self, engine: Engine, client: "redis.asyncio.Redis", capacity: int, sandbox: Sandbox | None = None
    ) -> None:
        self._sandbox = sandbox
        self._engine = engine
        self._client = client
        self._capacity = capacity
        self._models = publish(catalogue(engine.settings))
        self._notice = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._renewed_at = self._seen_at = 0.0

    def start(self) -> None:
        """Start its coroutines on the running loop."""
        self._tasks = [
            asyncio.create_task(self._tick_forever(), name="heartbeat"),
            asyncio.create_task(self._listen_forever(), name="control"),
        ]
        if self._sandbox is not None:
            self._tasks.append(asyncio.create_task(self._tell_sandbox(self._sandbox), name="sandbox"))

    async def stop(self) -> None:
        """Stop them and sign off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()
        try:
            await self._engine.store.read(partial(_gone, name=self._engine.name))
        except ModelError:
            log.info("could not sign off")

    async def _tick_forever(self) -> None:
        while True:
            try:
                await self._tick()
            except ModelError as error:
                log.warning("heartbeat missed", extra={"reason": error.code})
            try:
                async with asyncio.timeout(self._engine.settings.control_every_s):
                    await self._notice.wait()
            except TimeoutError:
                pass
            self._notice.clear()

    async def _tick(self) -> None:
        engine, now = self._engine, asyncio.get_running_loop().time()
        if engine.held:
            requests, mail = await engine.store.read(partial(_requests, worker=engine.name))
            for request in requests:
                engine.requested(request)
            for each in mail:
                engine.mailed(each)
        if now - self._renewed_at >= engine.settings.lease_s / 3:
            self._renewed_at = now
            await self._renew()
        if now - self._seen_at >= SEEN_EVERY_S:
            self._seen_at = now
            held = len(engine.held)
            seen = partial(_seen, name=engine.name, running=held, capacity=self._capacity, models=self._models)
            await engine.store.read(seen)

    async def _tell_sandbox(self, sandbox: Sandbox) -> None:
        told = await sandbox()
        while True:  # again and again: the row may have been lost, or not be there yet
            try:
                await self._engine.store.read(partial(_tell_sandbox, name=self._engine.name, told=told))
            except ModelError as error:
                log.info("sandbox not told", extra={"reason": error.code})
            await asyncio.sleep(SEEN_EVERY_S)

    async def _renew(self) -> None:
        engine = self._engine
        holds = [(run_id, held.claim.fence) for run_id, held in engine.held.items()]
        if holds:
            engine.lost(await engine.store.read(partial(_renew, holds=holds, lease_s=engine.settings.lease_s)))

    async def _listen_forever(self) -> None:
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                log.info("no notices, requests come by polling", extra={"reason": type(error).__name__})
                await asyncio.sleep(PAUSE_S)

    async def _listen(self) -> None:
        async with self._client.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(pubsub.CONTROL)
            self._notice.set()  # whatever was asked while nobody listened
            while True:
                message = await channel.get_message(timeout=30)
                if message is not None and self._concerns_us(message["data"]):
                    self._notice.set()

    def _concerns_us(self, data: bytes) -> bool:
        try:
            return UUID(data.decode()) in self._engine.held
        except ValueError:
            return False


def _requests(connection: Any, worker: str) -> tuple[list[runs.Request], list[runs.Mail]]:
    return runs.requests(connection, ENGINE, worker), runs.mail(connection, ENGINE, worker)


def _renew(connection: Any, holds: list[tuple[UUID, int]], lease_s: float) -> set[UUID]:
    return runs.renew(connection, ENGINE, holds, lease_s)


def _seen(connection: Any, name: str, running: int, capacity: int, models: Published) -> None:
    workers.seen(connection, ENGINE, name, running, capacity, VERSION, models)


def _gone(connection: Any, name: str) -> None:
    workers.gone(connection, ENGINE, name)


def _tell_sandbox(connection: Any, name: str, told: dict[str, str]) -> None:
    workers.tell_sandbox(connection, ENGINE, name, told)
