"""The hand-written doorbell against Celery's own message."""

import base64
import json
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery

from local.redis import RedisServer
from tasks import doorbell
from tasks.queues import LEVELS, QUEUES, celery_queues, level

VARIES = {"delivery_tag", "reply_to"}  # nobody replies: there is no result backend


def parts(raw: bytes | str) -> dict[str, Any]:
    message = json.loads(raw)
    message["body"] = json.loads(base64.b64decode(message["body"]))
    message["properties"] = {k: v for k, v in message["properties"].items() if k not in VARIES}
    message["headers"]["origin"] = "any"
    return dict(message)


@pytest.mark.stack
def test_a_doorbell_is_the_message_celery_itself_would_send(redis_server: RedisServer) -> None:
    url = redis_server.url.removesuffix("/0") + "/7"
    client = redis.Redis.from_url(url)
    app = Celery(broker=url, set_as_current=False)
    app.conf.update(task_queues=celery_queues(), task_create_missing_queues=False)
    run_id = uuid4()
    app.send_task(
        "workflow.probe", args=[str(run_id)], task_id=str(run_id), queue="batch", priority=3, ignore_result=True
    )
    theirs = client.rpop(doorbell.redis_key("batch", 3))
    app.close()
    client.close()
    assert isinstance(theirs, bytes)
    assert parts(doorbell.message("workflow.probe", run_id, "batch", 3)) == parts(theirs)


@pytest.mark.parametrize(("priority", "wanted"), [(9, 0), (7, 0), (6, 3), (5, 3), (4, 3), (3, 6), (0, 9)])
def test_a_higher_priority_rings_on_an_earlier_level(priority: int, wanted: int) -> None:
    assert level(priority) == wanted


def test_every_queue_has_a_list_for_each_level() -> None:
    keys = [key for queue in QUEUES for key in doorbell.redis_keys(queue)]
    assert len(set(keys)) == len(QUEUES) * len(LEVELS)
