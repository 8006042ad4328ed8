"""What every client program of the queue benchmarks speaks: commands on stdin, answers on stdout, one JSON line each.

Runs in Umbel's environment and in the peers', so it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol


class Queue(Protocol):
    """A queue as its users see it.

    `wait` gives one number for each task submitted since the last wait: when its body ran, or how long its call took.
    """

    def submit(self, count: int) -> None:
        """Submit no-op tasks; return when all are accepted."""

    def wait(self) -> list[float]:
        """Wait until the result of each is known to this process."""


def serve(queue: Queue) -> None:
    """Answer commands until stdin ends."""
    commands: dict[str, Callable[..., dict[str, Any]]] = {
        "submit": _submit,
        "wait": _wait,
        "one_by_one": _one_by_one,
    }
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = commands[asked.pop("do")](queue, **asked)
        print(json.dumps(answer), flush=True)


def _submit(queue: Queue, count: int) -> dict[str, Any]:
    began = time.time()
    queue.submit(count)
    return {"began": began, "ended": time.time()}


def _wait(queue: Queue) -> dict[str, Any]:
    values = queue.wait()
    return {"known": time.time(), "values": values}


def _one_by_one(queue: Queue, count: int) -> dict[str, Any]:
    """Seconds from before the submit to the start of the body, on an idle worker."""
    delays = []
    for _ in range(count):
        began = time.time()
        queue.submit(1)
        (body,) = queue.wait()
        delays.append(body - began)
    return {"delays": delays}
