"""A laboratory for the engine: submit, look, ask; real PostgreSQL and Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from config.settings import Settings
from models.base import new_id
from models.database import Database
from models.repositories import accounts, events, requests, tasks
from models.scope import OPERATIONS, AccountScope
from models.tasks import TERMINAL
from worker.engine import Ended, Engine

PATIENCE_S = 20


@dataclass
class Lab:
    """Acts as the front would, for one account of its own."""

    database: Database
    scope: AccountScope

    def submit(self, workflow: str, given: dict[str, Any] | None = None, **options: Any) -> tasks.TaskRow:
        new = tasks.NewTask(workflow=workflow, input=given or {}, **{"max_attempts": 4, **options})
        return self.database.run(lambda connection: tasks.submit(connection, self.scope, new)).task

    def task(self, task: tasks.TaskRow) -> tasks.TaskRow:
        return self.database.run(lambda connection: tasks.get(connection, self.scope, task.id))

    def events(self, task: tasks.TaskRow) -> list[Any]:
        return list(self.database.run(lambda c: events.after(c, self.scope, task.id, 0, 1000)).frames)

    def types(self, task: tasks.TaskRow) -> list[str]:
        return [frame["type"] for frame in self.events(task)]

    def steps(self, task: tasks.TaskRow) -> dict[str, Any]:
        query = text("SELECT * FROM steps WHERE run_id = :run ORDER BY number")
        run = self.task(task).run_id
        rows = self.database.run(lambda c: c.execute(query, {"run": run}).mappings().all())
        return {row["key"]: row for row in rows}

    def ask(self, what: str, task: tasks.TaskRow, *arguments: Any) -> Any:
        return self.database.run(lambda c: getattr(requests, what)(c, self.scope, task.id, *arguments))

    def sql(self, statement: str, **values: Any) -> None:
        self.database.run(lambda connection: connection.execute(text(statement), values))

    def dense(self, task: tasks.TaskRow) -> bool:
        frames = self.events(task)
        return [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1)) and (
            self.task(task).last_seq == len(frames)
        )

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Poll a condition until it holds; fail with what it last gave."""
        end = time.monotonic() + PATIENCE_S
        # Judged in the thread: a list that was empty there may have been filled on the loop by the time it is back.
        while not (found := await asyncio.to_thread(lambda: condition() or None)):
            assert time.monotonic() < end, f"never became true; last: {found!r}"
            await asyncio.sleep(0.02)
        return found

    async def ended(self, task: tasks.TaskRow) -> tasks.TaskRow:
        await self.until(lambda: self.task(task).status in TERMINAL)
        return self.task(task)

    async def status(self, task: tasks.TaskRow, *wanted: str) -> tasks.TaskRow:
        await self.until(lambda: self.task(task).status in wanted)
        return self.task(task)


@pytest.fixture
def lab(database: Database) -> Lab:
    account = database.run(partial(accounts.create_account, scope=OPERATIONS, name=f"lab {new_id()}"))
    return Lab(database, AccountScope(account))


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Settings with short leases and delays, so that faults are repaired while a test watches."""
    return settings.model_copy(
        update={
            "lease_s": 1.0,
            "control_every_s": 0.1,
            "retry_base_s": 0.05,
            "timer_inline_s": 0.2,
            "drain_s": 1.0,
        }
    )


@pytest.fixture
def begin() -> Callable[[Engine, UUID], "asyncio.Task[Ended]"]:
    """Start carrying out a run without waiting for it."""
    return lambda engine, run_id: asyncio.create_task(engine.execute(run_id))


Begin = Callable[[Engine, UUID], Awaitable[Ended]]
