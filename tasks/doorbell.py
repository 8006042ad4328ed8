"""The message that rings for a run, as Celery itself would write it to Redis.

Written by hand because it is on the path of every submit and costs a fifth of `send_task`; a test
compares it with Celery's own, so an upgrade that changes the form is noticed.
"""

import base64
import json
import os
import socket
import uuid
from typing import Any
from uuid import UUID

from tasks.queues import LEVELS

SEPARATOR = "\x06\x16"
ORIGIN = f"{os.getpid()}@{socket.gethostname()}"


def message(name: str, run_id: UUID, queue: str, level: int, celery_id: UUID | None = None) -> str:
    """Return the JSON of a Celery message (protocol 2) calling `name` with the run id.

    Args:
        name: Celery task name, `workflow.<name>`.
        run_id: the only argument.
        queue: one of tasks.queues.QUEUES.
        level: one of tasks.queues.LEVELS.
        celery_id: the Celery task's id; the run's by default.
    """
    run, celery = str(run_id), str(celery_id or run_id)
    body = json.dumps([[run], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": _headers(name, run, celery),
            "properties": {
                "correlation_id": celery,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": level,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )


def _headers(name: str, run: str, celery: str) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": name,
        "id": celery,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": celery,
        "parent_id": None,
        "argsrepr": f"['{run}']",
        "kwargsrepr": "{}",
        "origin": ORIGIN,
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }


def redis_key(queue: str, level: int) -> str:
    """Return the Redis list kombu uses for a queue's level."""
    return f"{queue}{SEPARATOR}{level}" if level else queue


def redis_keys(queue: str) -> list[str]:
    """Return all Redis lists of a queue."""
    return [redis_key(queue, level) for level in LEVELS]
