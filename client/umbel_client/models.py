"""What the server tells, as frozen records. Each keeps the whole answer in `raw`, so nothing newer is lost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

JSON = Mapping[str, Any]

FINAL_STATUSES = frozenset({"succeeded", "failed", "cancelled", "dead"})
FINAL_EVENTS = frozenset(f"task.{status}" for status in FINAL_STATUSES)
UNNUMBERED_EVENTS = frozenset({"model.delta", "heartbeat"})


def moment(value: object) -> datetime | None:
    """An RFC 3339 text as an aware datetime; None for anything else."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def mapping(value: object) -> JSON:
    """The value when it is a JSON object, an empty one otherwise."""
    return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a task waits, until when if that is known, and what else is known about it."""

    reason: str
    until: datetime | None
    detail: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """The error a task ended with."""

    code: str
    message: str
    retryable: bool
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        return cls(str(raw.get("code")), str(raw.get("message")), bool(raw.get("retryable")), raw)


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a task; `attempt` counts the claims by workers."""

    id: str
    number: int
    kind: str
    attempt: int
    worker: str | None
    lease_until: datetime | None
    cancel: JSON | None
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        return cls(
            id=str(raw.get("id")),
            number=int(raw.get("number") or 1),
            kind=str(raw.get("kind") or "first"),
            attempt=int(raw.get("attempt") or 0),
            worker=raw.get("worker"),
            lease_until=moment(raw.get("lease_until")),
            cancel=raw.get("cancel"),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stood when the server answered. `last_seq` is the number of its newest event."""

    id: str
    workflow: str
    status: str
    waiting: Waiting | None
    input: Any
    result: Any
    error: Failure | None
    usage: JSON
    tags: tuple[str, ...]
    metadata: Mapping[str, str]
    priority: int
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    last_seq: int
    decision: JSON | None
    run: Run | None
    links: Mapping[str, str]
    raw: JSON = field(repr=False)

    @property
    def finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in FINAL_STATUSES

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.status == "succeeded"

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first claim to the end; None before the end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        return cls(
            id=str(raw["id"]),
            workflow=str(raw["workflow"]),
            status=str(raw["status"]),
            waiting=_waiting(raw.get("waiting")),
            input=raw.get("input"),
            result=raw.get("result"),
            error=Failure.of(raw["error"]) if raw.get("error") else None,
            usage=mapping(raw.get("usage")),
            tags=tuple(raw.get("tags") or ()),
            metadata=mapping(raw.get("metadata")),
            priority=int(raw.get("priority") or 0),
            created_at=moment(raw.get("created_at")),
            started_at=moment(raw.get("started_at")),
            finished_at=moment(raw.get("finished_at")),
            last_seq=int(raw.get("last_seq") or 0),
            decision=raw.get("decision"),
            run=Run.of(raw["run"]) if raw.get("run") else None,
            links=mapping(raw.get("links")),
            raw=raw,
        )


def _waiting(raw: object) -> Waiting | None:
    if not isinstance(raw, Mapping):
        return None
    return Waiting(str(raw.get("reason")), moment(raw.get("until")), raw.get("detail"))


@dataclass(frozen=True, slots=True)
class Frame:
    """One event. `seq` numbers the durable ones 1..n per task; a model.delta carries that of its model.started."""

    seq: int | None
    type: str
    task_id: str
    run_id: str | None
    at: datetime | None
    data: JSON
    raw: JSON = field(repr=False)

    @property
    def durable(self) -> bool:
        """Whether it is numbered and kept."""
        return self.seq is not None and self.type not in UNNUMBERED_EVENTS

    @property
    def final(self) -> bool:
        """Whether it ends a run."""
        return self.type in FINAL_EVENTS

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        seq = raw.get("seq")
        return cls(
            seq=seq if isinstance(seq, int) else None,
            type=str(raw["type"]),
            task_id=str(raw.get("task_id") or ""),
            run_id=raw.get("run_id"),
            at=moment(raw.get("at")),
            data=mapping(raw.get("data")),
            raw=raw,
        )
