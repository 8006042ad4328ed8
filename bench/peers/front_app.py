"""The front most people would write: Flask under gunicorn gthread, SQLAlchemy's ORM, Celery's send_task.

It writes one row and sends one message where Umbel writes a task, a run and an event and rings; its GET reads what
Umbel's GET reads, as two related rows of the ORM.
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from typing import Any

from celery import Celery
from flask import Flask, jsonify, request
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship

ENGINE = create_engine(os.environ["BENCH_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://"), pool_size=8)
QUEUE = Celery(broker=os.environ["BENCH_REDIS_URL"])
app = Flask(__name__)


class Base(DeclarativeBase):
    """Base of both tables."""

    type_annotation_map = {dict[str, Any]: JSONB, list[str]: ARRAY(TEXT)}  # noqa: RUF012


class Task(Base):
    """The fields of Umbel's task."""

    __tablename__ = "tasks"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    workflow: Mapped[str]
    status: Mapped[str] = mapped_column(default="queued")
    waiting: Mapped[dict[str, Any] | None]
    input: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    usage: Mapped[dict[str, Any]] = mapped_column(default=dict)
    decision: Mapped[dict[str, Any] | None]
    tags: Mapped[list[str]] = mapped_column(default=list)
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)
    priority: Mapped[int] = mapped_column(default=5)
    last_seq: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    run: Mapped[Run | None] = relationship(back_populates="task")


class Run(Base):
    """The fields of Umbel's run that its GET shows."""

    __tablename__ = "runs"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    task_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tasks.id"), index=True)
    number: Mapped[int] = mapped_column(default=1)
    kind: Mapped[str] = mapped_column(default="first")
    attempt: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    task: Mapped[Task] = relationship(back_populates="run")


Base.metadata.create_all(ENGINE)


def shown(row: Base) -> dict[str, Any]:
    """Every column of a row."""
    return {column.key: getattr(row, column.key) for column in row.__mapper__.column_attrs}


@app.post("/tasks")
def submit() -> tuple[Any, int]:
    """Insert, commit, send. `?run=1` adds the related row that GET reads."""
    asked = request.get_json()
    with Session(ENGINE, expire_on_commit=False) as session:
        task = Task(workflow=asked["workflow"], input=asked["input"])
        session.add(task)
        if "run" in request.args:
            task.run = Run()
        session.commit()
    QUEUE.send_task("work", (str(task.id),))
    return jsonify(shown(task)), 202


@app.get("/tasks/<uuid:task_id>")
def status(task_id: uuid.UUID) -> Any:
    """Read a task with its run."""
    with Session(ENGINE) as session:
        task = session.get_one(Task, task_id, options=[joinedload(Task.run)])
        assert task.run is not None
        return jsonify(shown(task) | {"run": shown(task.run)})


@app.get("/healthz")
def healthz() -> str:
    """Say that it answers."""
    return "ok"
