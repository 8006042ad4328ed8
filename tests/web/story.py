"""Plays the engine for stream tests: writes event rows and pushes frames, as a worker does."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import redis
from redis.exceptions import RedisError
from sqlalchemy import text

from config.settings import Settings
from models.database import Database
from models.events import EventType, Frame, frame
from models.pubsub import task_channel, text_key
from models.repositories import events, tasks
from models.scope import AccountScope

_EVENT = text(
    """
    WITH task AS (UPDATE tasks SET last_seq = last_seq + 1 WHERE id = :task RETURNING *)
    INSERT INTO events (task_id, seq, account_id, run_id, type, data)
    SELECT id, last_seq, account_id, run_id, :type, CAST(:data AS jsonb) FROM task RETURNING seq, run_id, at
    """
)


@dataclass
class Story:
    """One task's events, told by a test. `pushing` off is a Redis that loses everything."""

    database: Database
    scope: AccountScope
    task_id: UUID
    run_id: UUID
    redis: Any
    pushing: bool = True
    texts: dict[int, str] = field(default_factory=dict)
    started: dict[int, Frame] = field(default_factory=dict)

    @classmethod
    def begin(cls, database: Database, settings: Settings, scope: AccountScope) -> "Story":
        new = tasks.NewTask(workflow="probe", input={"steps": []}, max_attempts=1)
        task = database.run(lambda connection: tasks.submit(connection, scope, new)).task
        client = redis.Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=1)
        story = cls(database, scope, task.id, task.run_id, client)
        story.status("running")
        return story

    @property
    def path(self) -> str:
        return f"/v1/tasks/{self.task_id}"

    def sql(self, statement: str, **values: Any) -> None:
        self.database.run(lambda connection: connection.execute(text(statement), values))

    def status(self, status: str) -> None:
        for table, column in (("runs", "task_id"), ("tasks", "id")):
            self.sql(f"UPDATE {table} SET status = :status WHERE {column} = :id", status=status, id=self.task_id)

    def event(self, kind: str = EventType.STEP_STARTED, **data: Any) -> Frame:
        values = {"task": self.task_id, "type": kind, "data": json.dumps(data)}
        seq, run_id, at = self.database.run(lambda connection: connection.execute(_EVENT, values).one())
        told = frame(seq, kind, self.task_id, run_id, at, data)
        self.push(told)
        return told

    def push(self, told: Frame) -> None:
        if not self.pushing:
            return
        with suppress(RedisError):
            self.redis.publish(task_channel(self.task_id), json.dumps(told))

    def many(self, count: int) -> None:
        for number in range(count):
            self.event(number=number)

    def open_text(self, step: str = "say:1") -> int:
        told = self.event(EventType.MODEL_STARTED, step=step, model="none")
        self.texts[told["seq"]] = ""
        self.started[told["seq"]] = told
        return told["seq"]

    def delta(self, seq: int, piece: str) -> None:
        so_far = self.texts[seq]
        self.texts[seq] = so_far + piece
        begun = self.started[seq]
        data = {"step": begun["data"]["step"], "offset": len(so_far), "text": piece}
        try:
            self.redis.append(text_key(self.task_id, seq), piece)
        except RedisError:
            return
        self.push(frame(seq, EventType.MODEL_DELTA, self.task_id, self.run_id, begun["at"], data))

    def close_text(self, seq: int) -> None:
        self.event(EventType.MODEL_COMPLETED, step=self.started[seq]["data"]["step"], text=self.texts[seq])

    def finish(self, kind: str = EventType.TASK_SUCCEEDED) -> None:
        """Write status and final event in one transaction, as the engine does."""
        status = kind.removeprefix("task.")
        values = {"task": self.task_id, "type": kind, "data": "{}"}
        state = {"status": status, "id": self.task_id}

        def work(connection: Any) -> Any:
            connection.execute(text("UPDATE runs SET status = :status WHERE task_id = :id"), state)
            connection.execute(text("UPDATE tasks SET status = :status, finished_at = now() WHERE id = :id"), state)
            return connection.execute(_EVENT, values).one()

        seq, run_id, at = self.database.run(work)
        self.push(frame(seq, kind, self.task_id, run_id, at, {}))

    @property
    def last_seq(self) -> int:
        return self.database.run(lambda connection: events.head(connection, self.scope, self.task_id))[0]
