"""Each mode of code_assist has a queue of its own, and long ones leave slots to those an editor waits for."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import redis
from celery.worker import state
from kombu import Connection, Consumer

from config.settings import Settings
from local.programs import QUEUES as LOCAL
from local.redis import RedisServer
from models.base import new_id
from models.database import Database
from models.repositories import sweep
from models.scope import RECONCILER
from tasks import doorbell
from tasks.queues import NEW, PATIENT, QUEUE_ORDER, QUEUES, celery_queues
from tasks.transport import SparingCycle, slots
from tests.web.conftest import Client
from worker.workflows import WORKFLOWS

pytestmark = pytest.mark.stack
WORK = {"mode": "lint_fix", "files": [{"path": "a.py", "content": "x = 1\n"}]}


def rung(settings: Settings, queue: str) -> list[str]:
    """Return the runs whose bells wait in a queue."""
    client = redis.Redis.from_url(settings.redis_url.get_secret_value())
    waiting = [message.decode() for key in doorbell.redis_keys(queue) for message in client.lrange(key, 0, -1)]
    client.close()
    return waiting


def heard_in(settings: Settings, run_id: str) -> dict[str, int]:
    counts = {queue: sum(run_id in message for message in rung(settings, queue)) for queue in QUEUES}
    return {queue: count for queue, count in counts.items() if count}


def test_a_task_is_rung_for_in_its_mode_s_queue_again_and_again(
    client: Client, settings: Settings, database: Database
) -> None:
    task = client.submit(workflow="code_assist", input=WORK).json
    assert heard_in(settings, task["run"]["id"]) == {"code_lint_fix": 1}
    ask = partial(sweep.due, scope=RECONCILER, again_s=0.0, limit=500, rering=True)
    again = {str(due.run_id): due for due in database.run(ask)}
    assert again[task["run"]["id"]].queue == "code_lint_fix" and not again[task["run"]["id"]].recovery
    values = {"id": task["id"]}
    for table, column in (("runs", "task_id"), ("tasks", "id")):
        statement = f"UPDATE {table} SET status = 'failed' WHERE {column} = %(id)s"
        database.run(lambda c, sql=statement: c.exec_driver_sql(sql, values))
    retried = client.post(f"/v1/tasks/{task['id']}/retry").json["run"]["id"]
    assert heard_in(settings, retried) == {"code_lint_fix": 1}


def test_why_counts_only_what_waits_in_the_same_queue(client: Client) -> None:
    task = client.submit(workflow="code_assist", input=WORK).json["id"]

    def said_after(mode: str) -> str:
        client.submit(workflow="code_assist", input=WORK | {"mode": mode}, priority=9)
        return str(client.get(f"/v1/tasks/{task}/why").json["summary"])

    behind = said_after("lint_fix")
    assert said_after("generate_test") == behind != said_after("lint_fix")


def test_every_mode_has_a_queue_and_the_stack_serves_all_queues() -> None:
    modes = WORKFLOWS["code_assist"].input_model.model_json_schema()["properties"]["mode"]
    named = modes.get("enum") or [modes["const"]]
    assert {f"code_{mode}" for mode in named} <= set(NEW)
    assert LOCAL.split(",") == list(QUEUES)


class Ears:
    """A consumer as a worker has it, over the real transport; what it hears keeps its slot."""

    def __init__(self, url: str, queues: list[str], limit: int) -> None:
        slots.limit = limit
        options = {"queue_order_strategy": QUEUE_ORDER, "ack_emulation": False}
        self.connection = Connection(url, transport="tasks.transport:Transport", transport_options=options)
        listed = [queue for queue in celery_queues() if queue.name in queues]
        self.consumer = Consumer(self.connection, listed, on_message=self.hear, no_ack=True)
        self.heard: list[Any] = []

    def hear(self, message: Any) -> None:
        self.heard.append(message)
        state.reserved_requests.add(message)

    def listen(self) -> list[str]:
        """Return which queues messages came from, until nothing comes for a while."""
        with self.consumer:
            try:
                while slots.free() > 0:
                    self.connection.drain_events(timeout=1.5)
            except TimeoutError:
                pass
        return [message.delivery_info["routing_key"] for message in self.heard]


@pytest.fixture
def broker(redis_server: RedisServer) -> Iterator[str]:
    url = redis_server.url.removesuffix("/0") + "/9"
    yield url
    state.reserved_requests.clear()
    slots.limit = 1
    redis.Redis.from_url(url).flushdb()


def ring(url: str, queue: str, times: int) -> None:
    client = redis.Redis.from_url(url)
    for _ in range(times):
        client.lpush(doorbell.redis_key(queue, 3), doorbell.message("workflow.code_assist", new_id(), queue, 3))


def test_patient_tasks_leave_a_worker_s_last_slots_to_the_others(broker: str) -> None:
    (patient,) = PATIENT
    ears = Ears(broker, [patient, "code_patch"], limit=4)
    ring(broker, patient, 6)
    assert ears.listen() == [patient] * 3
    ring(broker, "code_patch", 1)
    assert ears.listen() == [patient] * 3 + ["code_patch"]


def test_a_worker_for_patient_tasks_alone_uses_all_its_slots(broker: str) -> None:
    (patient,) = PATIENT
    ears = Ears(broker, [patient], limit=3)
    ring(broker, patient, 4)
    assert ears.listen() == [patient] * 3
    slots.limit = 1
    assert slots.spare == 0 and SparingCycle([patient]).consume(1) == [patient]
