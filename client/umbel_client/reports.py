"""What the server tells about itself and about the why of a task, as frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from umbel_client.models import JSON, Failure, mapping


@dataclass(frozen=True, slots=True)
class Workflow:
    """One kind of work the server knows, with the JSON schemas of its input and output."""

    name: str
    description: str
    queue: str
    input_schema: JSON
    output_schema: JSON
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        return cls(
            name=str(raw["name"]),
            description=str(raw.get("description") or ""),
            queue=str(raw.get("queue") or ""),
            input_schema=mapping(raw.get("input_schema")),
            output_schema=mapping(raw.get("output_schema")),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that holds a task up."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded unit inside a run; `effect` is pure, idempotent or unsafe; `duration_s` in seconds."""

    key: str
    kind: str
    status: str
    effect: str
    attempt: int
    duration_s: float | None
    error: Failure | None

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        duration = raw.get("duration_s")
        return cls(
            key=str(raw.get("key")),
            kind=str(raw.get("kind") or ""),
            status=str(raw.get("status") or ""),
            effect=str(raw.get("effect") or ""),
            attempt=int(raw.get("attempt") or 0),
            duration_s=float(duration) if isinstance(duration, int | float) else None,
            error=Failure.of(raw["error"]) if raw.get("error") else None,
        )


@dataclass(frozen=True, slots=True)
class Why:
    """Why a task is where it is: a sentence, what holds it, what it did, what was asked of it."""

    task_id: str
    status: str
    summary: str
    blockers: tuple[Blocker, ...]
    steps: tuple[Step, ...]
    requests: JSON
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        return cls(
            task_id=str(raw.get("task_id")),
            status=str(raw.get("status")),
            summary=str(raw.get("summary") or ""),
            blockers=tuple(Blocker(str(b.get("code")), str(b.get("detail"))) for b in raw.get("blockers") or ()),
            steps=tuple(Step.of(step) for step in raw.get("steps") or ()),
            requests=mapping(raw.get("requests")),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class Check:
    """The state of one thing the server needs; `cure` is what to do when it is not well."""

    name: str
    ok: bool
    detail: str
    cure: str
    latency_ms: float | None
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, name: str, raw: JSON) -> Self:
        """From the server's JSON."""
        latency = raw.get("latency_ms")
        return cls(
            name=name,
            ok=bool(raw.get("ok")),
            detail=str(raw.get("detail") or ""),
            cure=str(raw.get("cure") or ""),
            latency_ms=float(latency) if isinstance(latency, int | float) else None,
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class Readiness:
    """`status` is ready, degraded (work is accepted and waits) or unavailable."""

    status: str
    version: str
    checks: Mapping[str, Check]
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        checks = mapping(raw.get("checks"))
        return cls(
            status=str(raw.get("status")),
            version=str(raw.get("version") or "unknown"),
            checks={str(name): Check.of(str(name), mapping(check)) for name, check in checks.items()},
            raw=raw,
        )
