"""Redis may lose everything at any moment, PostgreSQL may stop: work goes on when they are back."""

import time
from typing import Any
from uuid import UUID

import httpx
import pytest
import redis
from umbel_client import Umbel

from chaos.faults.doorbells import SHAPELESS
from local.rig import Rig, until
from tasks.doorbell import message, redis_key
from tasks.queues import QUEUES
from tests.acceptance.provider import Provider
from tests.acceptance.test_lost_workers import charging, check, ended

pytestmark = pytest.mark.stack


def test_a_bell_that_was_lost_is_rung_again(stack: Rig, client: Umbel, provider: Provider) -> None:
    tasks = [client.submit("probe", charging(provider)) for _ in range(5)]
    with redis.Redis.from_url(stack.redis.url) as connection:
        connection.flushall()
    stack.forked()
    ended(client, tasks)
    for task in tasks:
        check(client, task)
    assert provider.repeats == 0


def test_bells_that_ring_many_times_start_nothing_twice(stack: Rig, client: Umbel, provider: Provider) -> None:
    task = client.submit("probe", charging(provider))
    with redis.Redis.from_url(stack.redis.url) as connection:
        for queue in QUEUES:
            for _ in range(50):
                connection.lpush(redis_key(queue, 0), message("workflow.probe", UUID(task.run.id), queue, 0))
                forged = message("workflow.probe", UUID(task.id), queue, 0)
                connection.lpush(redis_key(queue, 0), forged)
    stack.forked()
    stack.forked()
    ended(client, [task])
    check(client, task)
    assert provider.repeats == 0


def test_messages_that_are_no_bells_end_no_worker(stack: Rig, client: Umbel, provider: Provider) -> None:
    worker = stack.forked()
    with redis.Redis.from_url(stack.redis.url) as connection:
        for shapeless in SHAPELESS:
            connection.lpush(redis_key("batch", 0), shapeless)
    task = client.submit("probe", charging(provider))
    ended(client, [task])
    assert not worker.dead


def test_work_goes_on_after_redis_was_killed_and_lost_its_data(stack: Rig, client: Umbel, provider: Provider) -> None:
    stack.forked()
    tasks = [client.submit("probe", charging(provider, 3)) for _ in range(10)]
    until(lambda: provider.calls, "work is under way")
    stack.redis.kill()
    stack.redis.wipe()
    began = time.monotonic()
    meanwhile = client.submit("probe", charging(provider, 3))
    took = time.monotonic() - began
    assert client.get(meanwhile.id).status == "queued"
    stack.redis.start()
    ended(client, [*tasks, meanwhile])
    for task in [*tasks, meanwhile]:
        check(client, task, 3)
    assert provider.repeats == 0
    assert took < 2, "a submit must be accepted within 2 s while Redis is down"


def test_work_goes_on_after_both_servers_were_killed(stack: Rig, client: Umbel, provider: Provider) -> None:
    stack.forked()
    tasks = [client.submit("probe", charging(provider, 3)) for _ in range(10)]
    until(lambda: provider.calls, "work is under way")
    stack.redis.kill()
    stack.postgres.kill()
    refused = httpx.post(
        f"{stack.url}/v1/tasks", json={"workflow": "probe", "input": {"steps": []}}, timeout=20,
        headers={"Authorization": f"Bearer {stack.key}"},
    )  # fmt: skip
    assert refused.status_code == 503
    assert "Retry-After" in refused.headers
    stack.postgres.start()
    stack.redis.start()
    ended(client, tasks)
    for task in tasks:
        check(client, task, 3)
    assert len(provider.charges) == 30


def test_a_watcher_sees_every_event_once_while_redis_comes_and_goes(
    stack: Rig, client: Umbel, provider: Provider
) -> None:
    stack.forked()
    task = client.submit("probe", {"steps": [{"say": "some words to stream " * 5}, {"wait_s": 0.3}] * 6})
    seen: list[Any] = []
    for frame in client.watch(task.id):
        if frame.seq and frame.type != "model.delta":
            seen.append(frame.seq)
        if len(seen) == 8:
            stack.redis.kill()
            stack.redis.start()
    assert seen == list(range(1, len(seen) + 1))
    assert client.get(task.id).status == "succeeded"
