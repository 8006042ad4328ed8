"""events: what a durable event and a coalesced text delta cost a worker, beside plain PUBLISH of the same frame.

Durable events go the product's way: `worker.store` groups the writes of many runs into one statement and commit,
then `worker.events` publishes the frames. A delta is five pieces of text gathered into one.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import redis.asyncio
from pydantic import SecretStr

from bench.__main__ import Plan
from bench.fronts import SETTINGS
from bench.report import Report
from config.settings import Settings
from local.rig import Rig, open_rig
from models import pubsub
from models.database import connect
from models.events import EventType, Frame, frame
from models.repositories import journal, runs, tasks
from models.repositories.tasks import NewTask
from models.repositories.writes import Hold, NewEvent, Write
from models.scope import ENGINE, AccountScope
from worker.events import Publisher, TextStream
from worker.store import Grouped, Store

RUNS, EVENTS_EACH, DELTAS, PUBLISHES = 64, 40, 4_000, 2_000
LEASE_S = 600
PIECES = ("It is ", "not the ", "strongest ", "that ", "survive. ")
DELTA_BATCH = 200
DURABLE, DELTA, PUBLISH = "durable event, grouped", "coalesced delta", "redis PUBLISH"
CPU, WALL = "CPU us", "wall us"
DELTA_CPU_US, DURABLE_OVER_PUBLISH = 30, 2.0


def run(plan: Plan) -> Report:
    """Measure the three in turn, in every round."""
    report = Report("events", "one event's cost to a worker process", versions={"redis": version("redis")})
    with open_rig(SETTINGS) as rig:
        for number in range(plan.rounds):
            asyncio.run(_round(rig, plan, report))
            plan.say(f"events: round {number + 1}: {[(name, each[-1]) for name, each in report.rounds.items()]}")
    _judge(report)
    return report


async def _round(rig: Rig, plan: Plan, report: Report) -> None:
    settings = Settings(environment="development", database_url=SecretStr(rig.postgres.url))
    store = Store(connect(settings, pool_size=settings.store_threads, by_key=True), settings.store_threads)
    store.start()
    holds = await store.read(_held)
    client = redis.asyncio.Redis.from_url(rig.redis.url)
    try:
        count = plan.size(PUBLISHES, 50)
        report.add(PUBLISH, await _cost(count, partial(_publish, client, count)))
        count = plan.size(EVENTS_EACH, 2) * RUNS
        report.add(DURABLE, await _cost(count, partial(_durable, rig, store, holds, count // RUNS)))
        count = plan.size(DELTAS, DELTA_BATCH)
        report.add(DELTA, await _cost(count, partial(_deltas, rig, client, count)))
    finally:
        await client.aclose()
        await store.stop()


async def _cost(count: int, work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return {WALL: (time.perf_counter() - wall) / count * 1e6, CPU: (time.process_time() - cpu) / count * 1e6}


def _held(connection: Any) -> list[Hold]:
    """Submit and claim the runs whose events are written."""
    (account,) = connection.exec_driver_sql("SELECT account_id FROM api_keys LIMIT 1").one()
    new = NewTask("probe", {"steps": []}, max_attempts=4)
    made = [tasks.submit(connection, AccountScope(account), new).task.run_id for _ in range(RUNS)]
    claims = runs.claim_all(connection, ENGINE, made, "bench:0", LEASE_S)
    return [Hold(each.run_id, each.task_id, each.account_id, each.fence, each.frame["seq"]) for each in claims if each]


async def _publish(client: redis.asyncio.Redis, count: int) -> None:
    """One after the other, as a program without a publisher does it."""
    for _ in range(count):
        item = _opened(EventType.STEP_STARTED)
        await client.publish(pubsub.task_channel(item["task_id"]), json.dumps(item))


async def _durable(rig: Rig, store: Store, holds: list[Hold], each: int) -> None:
    """All runs write at once, again and again; each waits for its commit before its next event."""
    publisher = Publisher(redis.asyncio.Redis.from_url(rig.redis.url))
    publisher.start()
    await asyncio.gather(*(_events(store, publisher, hold, each) for hold in holds))
    await publisher.stop()
    assert not publisher.dropped


async def _events(store: Store, publisher: Publisher, hold: Hold, count: int) -> None:
    for _ in range(count):
        write = Write(hold, hold.seq, [], [NewEvent(EventType.STEP_STARTED, {"step": "bench"})])
        publisher.publish(await store.submit(hold.run_id, Grouped(_record_all, write)))
        hold.seq += 1


def _record_all(connection: Any, writes: list[Write]) -> Any:
    return journal.record_all(connection, ENGINE, writes, LEASE_S)


async def _deltas(rig: Rig, client: redis.asyncio.Redis, count: int) -> None:
    """Write and coalesce; fail if Redis does not hold every character afterwards."""
    publisher = Publisher(redis.asyncio.Redis.from_url(rig.redis.url))
    publisher.start()
    expected: dict[str, int] = {}
    for _ in range(count // DELTA_BATCH):
        started = _opened(EventType.MODEL_STARTED)
        stream = TextStream(publisher, started, "model:1", every_s=LEASE_S)
        for _ in range(DELTA_BATCH):
            for piece in PIECES:
                stream.write(piece)
            stream.flush()
        expected[pubsub.text_key(started["task_id"], started["seq"])] = len(stream.text)
        await asyncio.sleep(0)
    await publisher.stop()
    for key, size in expected.items():
        if await client.strlen(key) != size:
            raise RuntimeError(f"Redis holds another text than was streamed under {key}; deltas were dropped")


def _opened(kind: EventType) -> Frame:
    return frame(1, kind, uuid.uuid4(), uuid.uuid4(), "2026-01-31T09:00:00.000000+00:00", {"step": "bench"})


def _judge(report: Report) -> None:
    report.goal("CPU us of a coalesced delta", report.median(DELTA, CPU), "<=", DELTA_CPU_US)
    for what in (CPU, WALL):
        over = report.ratio(DURABLE, PUBLISH, what)
        report.goal(f"{what} of a grouped durable event over PUBLISH", over, "<=", DURABLE_OVER_PUBLISH)
    report.notes.append(f"{RUNS} runs write at once, at most {RUNS} events share a commit; CPU is the process's own")
    report.notes.append("PUBLISH is awaited one by one on the same loop; the durable event includes its own publishing")
