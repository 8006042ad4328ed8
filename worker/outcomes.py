"""From how a run's coroutine ended to where the run goes: pure decisions, no effects."""

import asyncio
import logging
import random
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from config.settings import Settings
from models.errors import CancelPending, LeaseLost, Unavailable
from models.events import EventType
from models.repositories.runs import Claim
from models.repositories.writes import Move, NewEvent
from models.tasks import Status, Waiting
from worker.errors import (
    AttemptsExhausted,
    DeadlineExceeded,
    Parked,
    UnexpectedError,
    WorkerError,
    WorkerLost,
)

log = logging.getLogger(__name__)


class Stop(StrEnum):
    """Why the engine cancelled a run's coroutine."""

    CANCEL = "cancel"
    LEASE_LOST = "lease_lost"
    DEADLINE = "deadline"
    DRAIN = "drain"


def before_running(claim: Claim, settings: Settings) -> Move | None:
    """Decide what needs no running: a cancelled, paused, overdue or poisonous run."""
    if claim.cancel_requested:
        return cancelled()
    if claim.crashes >= settings.max_crashes:
        return _dead(_lost(claim))
    if claim.deadline is not None and claim.deadline <= claim.now:
        return failed(DeadlineExceeded(deadline=claim.deadline.isoformat()))
    if claim.pause_requested:
        return parked(Parked(Waiting.PAUSED))
    return None


def of(coroutine: "asyncio.Task[Any]", stop: Stop | None, claim: Claim, now: datetime, settings: Settings) -> Move:
    """Decide where a run goes whose coroutine ended.

    Raises:
        LeaseLost: the run belongs to another worker now; nothing may be written.
    """
    if stop is Stop.LEASE_LOST:
        _retrieve(coroutine)
        raise LeaseLost
    if stop is Stop.CANCEL:
        _retrieve(coroutine)
        return cancelled()
    if coroutine.cancelled():
        return _interrupted(stop, claim)
    error = coroutine.exception()
    if error is None:
        return Move(Status.SUCCEEDED, NewEvent(EventType.TASK_SUCCEEDED), result=coroutine.result())
    return _of_error(error, claim, now, settings)


def _of_error(error: BaseException, claim: Claim, now: datetime, settings: Settings) -> Move:
    match error:
        case Parked():
            return parked(error)
        case CancelPending():
            return cancelled()
        case LeaseLost() | Unavailable():
            raise error
        case WorkerError(retryable=True):
            return _again_or_dead(error, claim, now, settings)
        case WorkerError():
            return failed(error)
    log.error("workflow raised", exc_info=error, extra={"run_id": str(claim.run_id), "workflow": claim.workflow})
    return failed(UnexpectedError(exception=type(error).__name__))


def _interrupted(stop: Stop | None, claim: Claim) -> Move:
    if stop is Stop.DEADLINE:
        deadline = claim.deadline.isoformat() if claim.deadline else None
        return failed(DeadlineExceeded(deadline=deadline))
    return parked(Parked(Waiting.CAPACITY))


def _again_or_dead(error: WorkerError, claim: Claim, now: datetime, settings: Settings) -> Move:
    if claim.failures + 1 >= claim.max_attempts:
        message = f"all {claim.max_attempts} attempts failed; the last: {error}"
        return _dead(AttemptsExhausted(message, cause=error.as_json()))
    delay = retry_delay_s(claim.failures, error.retry_after_s, settings)
    move = parked(Parked(Waiting.TIMER, now + timedelta(seconds=delay), detail=f"retry after: {error}"))
    return Move(
        move.status, move.event, move.reason, move.resume_at, error=error.as_json(), failures=1, detail=move.detail
    )


def retry_delay_s(failures: int, retry_after_s: float | None, settings: Settings) -> float:
    """Return the delay before the next try: doubling, with up to half of it random, never below `retry_after_s`.

    Args:
        failures: tries that failed before this one.
        retry_after_s: what the other side asked for.
        settings: base and maximum.
    """
    full = min(settings.retry_base_s * 2.0**failures, settings.retry_max_s)
    jittered = full * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
    return max(jittered, min(retry_after_s or 0.0, settings.retry_max_s))


def cancelled() -> Move:
    """End as asked."""
    return Move(Status.CANCELLED, NewEvent(EventType.TASK_CANCELLED))


def failed(error: WorkerError) -> Move:
    """End with an error that trying again would not change."""
    stored = error.as_json()
    return Move(Status.FAILED, NewEvent(EventType.TASK_FAILED, {"error": stored}), error=stored)


def parked(wait: Parked) -> Move:
    """Let go of the slot until the reason has passed; capacity is due at once."""
    until = wait.until
    data: dict[str, Any] = {"reason": wait.reason, "until": until and until.isoformat(), "detail": wait.detail}
    event = NewEvent(EventType.TASK_WAITING, {name: value for name, value in data.items() if value})
    return Move(Status.WAITING, event, wait.reason, until, detail=wait.detail)


def _dead(error: WorkerError) -> Move:
    stored = error.as_json()
    return Move(Status.DEAD, NewEvent(EventType.TASK_DEAD, {"error": stored}), error=stored)


def _lost(claim: Claim) -> WorkerLost:
    in_doubt = [step.key for step in claim.steps if step.status == "started"]
    where = f" during step {in_doubt[-1]}" if in_doubt else ""
    message = f"the worker was lost {claim.crashes} times{where}; retry the task once the cause is known"
    return WorkerLost(message, step=in_doubt[-1] if in_doubt else None, last_error=claim.error)


def _retrieve(coroutine: "asyncio.Task[Any]") -> None:
    """Look at the outcome so that asyncio does not report it as forgotten."""
    if not coroutine.cancelled():
        coroutine.exception()
