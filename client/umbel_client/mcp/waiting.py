"""Waiting for a task, and saying meanwhile how it goes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio

from umbel_client.backoff import Backoff
from umbel_client.errors import UmbelError
from umbel_client.mcp.api import Api, worth_retrying
from umbel_client.models import FINAL_STATUSES

#: Reasons to wait that only a person ends.
ASKING = frozenset({"approval", "input", "in_doubt"})
#: Seconds between two reports, so that a busy task does not flood whoever waits.
REPORT_EVERY_S = 0.25

#: Told how many reports there have been, and what happens now.
Tell = Callable[[int, str], Awaitable[None]]
Task = dict[str, Any]


async def wait(api: Api, key: str, task_id: str, wait_s: float, tell: Tell) -> Task:
    """The task at its end, or when it waits for a person, or after `wait_s` seconds.

    What a person is asked is put into it as `approvals`. Whoever stops waiting leaves the task alone. Raises an
    UmbelError.
    """
    task = await _get(api, key, task_id)
    if _settled(task):
        return task
    with anyio.move_on_after(wait_s):
        return await _until_settled(api, key, task, _Reports(tell))
    return await _get(api, key, task_id)


async def _until_settled(api: Api, key: str, task: Task, reports: "_Reports") -> Task:
    backoff = Backoff(base_s=0.2, cap_s=5, patience_s=60)
    while True:
        try:
            await _follow(api, key, task, reports)
            task = await _get(api, key, task["id"])
        except UmbelError as error:
            if not worth_retrying(error):
                raise
            await asyncio.sleep(backoff.next_pause(error))
            continue
        if _settled(task):
            return task
        backoff.reset()
        # A server that goes down ends its streams; another one must not be asked in a tight loop.
        await asyncio.sleep(REPORT_EVERY_S)


async def _get(api: Api, key: str, task_id: str) -> Task:
    task = await api.get(key, f"/v1/tasks/{task_id}")
    if (task["waiting"] or {}).get("reason") in ASKING:
        task["approvals"] = (await api.get(key, "/v1/approvals", task_id=task_id))["approvals"]
    return task


def _settled(task: Task) -> bool:
    # Answered, and not yet gone on: that is no reason to ask again.
    return task["status"] in FINAL_STATUSES or bool(task.get("approvals"))


async def _follow(api: Api, key: str, task: Task, reports: "_Reports") -> None:
    async with aclosing(api.events(key, task["id"], task["last_seq"])) as frames:
        async for frame in frames:
            await reports.add(frame)
            if frame is not None and frame["type"] == "task.waiting" and frame["data"].get("reason") in ASKING:
                return


class _Reports:
    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._count = 0
        self._last = -REPORT_EVERY_S

    async def add(self, frame: dict[str, Any] | None) -> None:
        """Report an event, or (None) that the task goes on; not more often than `REPORT_EVERY_S`."""
        now = time.monotonic()
        if now - self._last < REPORT_EVERY_S and not (frame and frame["type"].startswith("task.")):
            return
        self._count += 1
        self._last = now
        await self._tell(self._count, _words(frame))


def _words(frame: dict[str, Any] | None) -> str:
    if frame is None:
        return "it goes on"
    # Names only: what a task says and is told is in its result and its events.
    parts = (frame["type"], frame["data"].get("step"), frame["data"].get("reason"))
    return " ".join(str(part) for part in parts if isinstance(part, str))
