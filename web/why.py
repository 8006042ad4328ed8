"""Says in plain words why a task is where it is, and what would change that."""

from collections.abc import Callable
from typing import Any

from models.repositories.equals import SUPERSEDED_BY
from models.repositories.why import Facts, StepFact
from models.tasks import Status, StepStatus, Waiting
from web.schemas.tasks import run_json

Blockers = list[dict[str, Any]]
CHILDREN_SHOWN = 5


def explain(facts: Facts) -> dict[str, Any]:
    """Render the answer in the shape of :class:`web.schemas.why.Why`."""
    task = facts.task
    summary, blockers = _SAY[Status(task.status)](facts)
    asked = _requested(facts)
    return {
        "task_id": task.id,
        "status": task.status,
        "summary": f"{summary} {asked}".strip(),
        "waiting": task.waiting,
        "blockers": blockers,
        "run": run_json(task),
        "steps": [step._asdict() for step in facts.steps],
        "requests": {"cancel": task.cancel_requested_at, "pause": task.pause_requested_at},
    }


def _queued(facts: Facts) -> tuple[str, Blockers]:
    task, run = facts.task, facts.run
    if task.run_after and task.run_after > run.now:
        detail = f"It is not to start before {task.run_after.isoformat()}."
        return f"Queued. {detail}", [_blocker("run_after", detail)]
    blockers: Blockers = []
    if facts.workers.processes == 0:
        blockers.append(_blocker("no_worker", "No worker process is alive; start one, and the task will run."))
    if run.concurrency_limit is not None and len(facts.holders) >= run.concurrency_limit:
        detail = f"Its concurrency key allows {run.concurrency_limit} at a time, and that many are running."
        blockers.append(_blocker("concurrency_limit", detail) | {"task_ids": facts.holders})
    elif facts.workers.processes and facts.workers.running >= facts.workers.capacity:
        detail = f"All {facts.workers.capacity} places of {_count(facts.workers.processes, 'worker')} are taken."
        blockers.append(_blocker("capacity", detail))
    ahead = f"{_count(facts.ahead, 'task')} of workflow {task.workflow!r} ahead of it."
    place = ahead if facts.ahead else "It is next."
    reasons = " ".join(blocker["detail"] for blocker in blockers)
    return f"Queued. {place} {reasons}".strip(), blockers


def _running(facts: Facts) -> tuple[str, Blockers]:
    task = facts.task
    if not facts.run.leased:
        until = task.lease_until.isoformat() if task.lease_until else "some time ago"
        detail = f"Worker {task.worker} has not been heard of; its lease ended {until}. Another worker will take over."
        return f"Running, but stalled. {detail}", [_blocker("lease_expired", detail), *_no_worker(facts)]
    step = _current(facts)
    doing = f"in step {step.key!r} since {step.started_at.isoformat()}" if step else "between steps"
    lease = f" (lease until {task.lease_until.isoformat()})" if task.lease_until else ""
    return f"Running on worker {task.worker}{lease}, attempt {task.attempt}, {doing}.", []


def _waiting(facts: Facts) -> tuple[str, Blockers]:
    waiting = facts.task.waiting or {}
    reason = str(waiting.get("reason", "unknown"))
    detail = _REASONS[reason](facts) if reason in _REASONS else f"It waits: {reason}."
    blocker = _blocker(reason, detail)
    if reason == Waiting.CHILD:
        blocker["task_ids"] = [each["id"] for each in facts.awaited]
    return f"Waiting ({reason}). {detail}", [blocker, *_no_worker(facts)]


def _succeeded(facts: Facts) -> tuple[str, Blockers]:
    finished = sum(step.status == StepStatus.COMPLETED for step in facts.steps)
    verdict = f" It was {facts.task.decision['verdict']}." if facts.task.decision else ""
    return f"Succeeded after {_count(finished, 'recorded step')}, attempt {facts.task.attempt}.{verdict}", []


def _failed(facts: Facts) -> tuple[str, Blockers]:
    return f"Failed: {_error(facts)} `retry` starts a new run that skips the finished steps.", []


def _dead(facts: Facts) -> tuple[str, Blockers]:
    run = facts.run
    tries = f"{run.failures} of {run.max_attempts} attempts failed and {_count(run.crashes, 'worker')} went missing"
    cure = "Mend the cause, then `retry` starts a new run that skips the finished steps."
    return f"Given up: {tries}. {_error(facts)} {cure}", []


def _cancelled(facts: Facts) -> tuple[str, Blockers]:
    stopped, newer = facts.task.stopped_at, facts.task.metadata.get(SUPERSEDED_BY)
    said = f"A newer request took its place: task {newer}" if newer else "Cancelled on request"
    return said + (f"; it stopped at {stopped.isoformat()}." if stopped else "."), []


def _timer(facts: Facts) -> str:
    until = (facts.task.waiting or {}).get("until") or (facts.run.resume_at and facts.run.resume_at.isoformat())
    error = facts.run.error or {}
    cause = f" The last attempt failed: {error['message']}." if error.get("message") else ""
    return f"It goes on by itself at {until}.{cause}"


def _in_doubt(facts: Facts) -> str:
    step = (facts.task.waiting or {}).get("detail")
    return (
        f"Step {step!r} may or may not have happened when its worker was lost, and repeating it could do harm. "
        'Find out, then resume with {"decision": "repeat"}, "skip" or "fail".'
    )


def _approval(facts: Facts) -> str:
    key = (facts.task.waiting or {}).get("detail")
    return (
        f"A person must approve {key!r} before it goes on. Read it under `GET /v1/approvals`, then answer with "
        f"`POST /v1/approvals/{facts.task.run_id}.{key}/decide`."
    )


def _input(facts: Facts) -> str:
    key = (facts.task.waiting or {}).get("detail")
    return (
        f"A person must answer {key!r} before it goes on. Read it under `GET /v1/approvals`, then answer with "
        f"`POST /v1/approvals/{facts.task.run_id}.{key}/decide`."
    )


def _child(facts: Facts) -> str:
    shown = [f"{each['id']} ({each['workflow']}, {each['status']})" for each in facts.awaited[:CHILDREN_SHOWN]]
    more = len(facts.awaited) - len(shown)
    names = ", ".join(shown) + (f" and {more} more" if more else "")
    return f"It waits for tasks it started: {names}." if shown else "What it waited for has ended; it is due."


_REASONS: dict[str, Callable[[Facts], str]] = {
    Waiting.TIMER: _timer,
    Waiting.PAUSED: lambda _: "Someone paused it; `resume` lets it go on.",
    Waiting.CAPACITY: lambda _: "Its worker was shut down; the next free one continues it.",
    Waiting.IN_DOUBT: _in_doubt,
    Waiting.APPROVAL: _approval,
    Waiting.INPUT: _input,
    Waiting.CHILD: _child,
}
_SAY: dict[Status, Callable[[Facts], tuple[str, Blockers]]] = {
    Status.QUEUED: _queued,
    Status.RUNNING: _running,
    Status.WAITING: _waiting,
    Status.SUCCEEDED: _succeeded,
    Status.FAILED: _failed,
    Status.CANCELLED: _cancelled,
    Status.DEAD: _dead,
}


def _requested(facts: Facts) -> str:
    task = facts.task
    if task.terminal:
        return ""
    if task.cancel_requested_at:
        return f"A cancel was requested at {task.cancel_requested_at.isoformat()} and will be acted on first."
    if task.pause_requested_at and (task.waiting or {}).get("reason") != Waiting.PAUSED:
        asked_at = task.pause_requested_at.isoformat()
        return f"A pause was requested at {asked_at}; it takes effect at the next step boundary."
    return ""


def _no_worker(facts: Facts) -> Blockers:
    if facts.workers.processes:
        return []
    return [_blocker("no_worker", "No worker process is alive; start one, and the task will go on.")]


def _current(facts: Facts) -> StepFact | None:
    return next((step for step in reversed(facts.steps) if step.status == StepStatus.STARTED), None)


def _error(facts: Facts) -> str:
    error = facts.task.error or facts.run.error or {}
    message = str(error.get("message", "no reason was recorded")).rstrip(".")
    code = f" ({error['code']})" if error.get("code") else ""
    cure = f" {error['cure']}" if error.get("cure") else ""
    return f"{message}{code}.{cure}"


def _blocker(code: str, detail: str) -> dict[str, Any]:
    return {"code": code, "detail": detail}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
