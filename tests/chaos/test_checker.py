"""The checker finds what is wrong: one fabricated violation for each invariant, and a sound record that holds."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.checker import Evidence, Verdict, check

START = datetime(2026, 1, 1, tzinfo=UTC)
HELD, LOST = "host:101:aaa", "host:102:bbb"


def event(seq: int, kind: str, **data: Any) -> Any:
    at = START + timedelta(seconds=seq)
    return SimpleNamespace(task_id="t1", run_id="r1", seq=seq, type=kind, at=at, data=data)


def sound() -> Evidence:
    """One task whose first worker was killed in the middle of an unsafe call and of a keyed one that was repeated."""
    events = [
        event(1, "task.queued"),
        event(2, "task.started", attempt=1, worker=LOST),
        event(3, "step.started", step="call:0"),
        event(4, "task.resumed", attempt=2, worker=HELD, after="worker_lost"),
        event(5, "step.restarted", step="call:0"),
        event(6, "step.completed", step="call:0"),
        event(7, "step.started", step="call:1"),
        event(8, "step.completed", step="call:1"),
        event(9, "task.succeeded"),
    ]
    return Evidence(
        tasks=[task(), child()], runs=[run()], events=events,
        steps=[
            step("call:0", "idempotent", 1), step("call:1", "unsafe", 2),
            step("model:1", "idempotent", 1, "model"), SPAWN,
        ],
        ledger=[called("call:0", 1), called("call:0", 1), called("call:1", 2), asked()],
        accepted=[{"id": "t1", "number": 7, "key": "k1", "kind": "keyed"}], decided=[], outages=[],
        losses=[{"at": START.timestamp() + 3.5, "pid": 102, "how": "kill -9", "calls": 1}],
        watched=[{"task": "t1", "how": "websocket", "seqs": list(range(1, 10)), "reconnects": 2, "ended": True}],
        lease_s=3,
    )  # fmt: skip


def task(**changes: Any) -> Any:
    about = {"id": "t1", "run_id": "r1", "status": "succeeded", "waiting": None, "idempotency_key": "k1", "last_seq": 9}
    about["parent_task_id"] = None
    return SimpleNamespace(**about | changes)


def child(**changes: Any) -> Any:
    return task(
        **{"id": "t2", "run_id": "r2", "idempotency_key": None, "last_seq": 0, "parent_task_id": "t1"} | changes
    )


SPAWN = SimpleNamespace(
    run_id="r1", task_id="t1", key="part", kind="spawn", effect="pure", status="completed", fence=2, attempts=1,
    idempotency_key="r1:part", result={"task_id": "t2"},
)  # fmt: skip


def run(**changes: Any) -> Any:
    about = {"id": "r1", "task_id": "t1", "number": 1, "status": "succeeded", "fence": 2, "crashes": 0}
    return SimpleNamespace(**about | {"cancel_acknowledged_at": None} | changes)


def step(key: str, effect: str, charge: int, kind: str = "call") -> Any:
    return SimpleNamespace(
        run_id="r1", task_id="t1", key=key, kind=kind, effect=effect, status="completed", fence=2, attempts=1,
        idempotency_key=f"r1:{key}", result={"status": 200, "body": {"charge": charge}},
    )  # fmt: skip


def asked() -> dict[str, Any]:
    return {"task": "7", "key": "7:model:1", "step": "model:1", "charge": 1, "good": True}


def called(step: str, charge: int, root: str = "r1") -> dict[str, Any]:
    return {"task": "7", "key": f"{root}:{step}", "charge": charge, "good": True}


def broken(evidence: Evidence) -> set[str]:
    return {verdict.name for verdict in check(evidence) if not verdict.holds}


def test_a_sound_record_holds_and_everything_was_looked_at() -> None:
    verdicts = check(sound())
    assert [verdict for verdict in verdicts if not verdict.holds] == []
    assert all(verdict.looked_at > 0 for verdict in verdicts if verdict.name != "I9 CancelSticks")


def set_task(**changes: Any) -> Callable[[Evidence], None]:
    return lambda e: e.tasks.__setitem__(0, task(**changes))


def set_run(**changes: Any) -> Callable[[Evidence], None]:
    return lambda e: e.runs.__setitem__(0, run(**changes))


def set_event(place: int, **changes: Any) -> Callable[[Evidence], None]:
    return lambda e: e.events[place].__dict__.update(changes)


def watched(**changes: Any) -> Callable[[Evidence], None]:
    return lambda e: e.watched[0].update(changes)


VIOLATIONS: dict[str, tuple[str, Callable[[Evidence], None]]] = {
    "an accepted task is not there": ("I1 NoLoss", lambda e: e.tasks.clear()),
    "a task still runs": ("I1 NoLoss", set_task(status="running")),
    "the run says something else": ("I1 NoLoss", set_run(status="failed")),
    "two workers had the same fence": ("I2 SingleWriter", set_event(3, data={"attempt": 1, "worker": HELD})),
    "a claim left no trace": ("I2 SingleWriter", set_run(fence=3)),
    "a step was written under a fence nobody holds": ("I2 SingleWriter", lambda e: e.steps[0].__dict__.update(fence=5)),
    "it ended twice": ("I3 TerminalOnce", set_event(7, type="task.failed")),
    "it went on after its end": ("I3 TerminalOnce", lambda e: e.events.append(event(10, "step.started", step="x"))),
    "a step completed twice": ("I4 StepOnce", set_event(6, type="step.completed")),
    "another charge was recorded": ("I4 StepOnce", lambda e: e.steps[0].result["body"].update(charge=9)),
    "a call was repeated for no reason": ("I5 BoundedRepeat", lambda e: e.losses.clear()),
    "an unsafe call was repeated": ("I5 BoundedRepeat", lambda e: e.ledger.append(called("call:1", 2))),
    "a recorded answer of a model was asked for again": ("I5 ModelCalls", lambda e: e.ledger.append(asked())),
    "a model was asked for a step nobody recorded": ("I5 ModelCalls", lambda e: e.steps.pop(2)),
    "a tool recorded another charge": ("I4 StepOnce", lambda e: e.steps[0].__dict__.update(
        kind="tool", result={"kind": "data", "data": {"status": 200, "body": {"charge": 9}}})),
    "a step was charged under two keys": ("I5 PaidOnce", lambda e: e.ledger.append(called("call:0", 3, root="r2"))),
    "an event is missing": ("I6 SeqDense", lambda e: e.events.pop(4)),
    "an event is there twice": ("I6 SeqDense", set_event(4, seq=4)),
    "a watcher missed one": ("I6 Streams", watched(seqs=[1, 2, 4, 5, 6, 7, 8, 9])),
    "a watcher saw one twice": ("I6 Streams", watched(seqs=[1, 2, 2, 3])),
    "a watcher saw more than there was": ("I6 Streams", watched(seqs=list(range(1, 12)))),
    "a watcher never saw the end": ("I6 Streams", watched(ended=False)),
    "a key made two tasks": ("I7 IdemSubmit", lambda e: e.tasks.append(task(id="t3", last_seq=0))),
    "a step started after the cancel": ("I9 CancelSticks", set_run(cancel_acknowledged_at=START)),
    "one step started two tasks": ("Families", lambda e: e.tasks.append(child(id="t3"))),
    "a recorded child is not there": ("Families", lambda e: e.tasks.pop()),
    "a child lives on": ("Families", lambda e: e.tasks.__setitem__(1, child(status="waiting"))),
    "recovery took too long": ("Recovery", set_event(3, at=START + timedelta(seconds=60))),
}  # fmt: skip


@pytest.mark.parametrize("what", VIOLATIONS)
def test_each_violation_turns_its_invariant_red(what: str) -> None:
    name, break_it = VIOLATIONS[what]
    evidence = sound()
    break_it(evidence)
    assert name in broken(evidence)


def test_a_repeat_is_excused_by_a_recorded_failure_or_by_a_persons_word() -> None:
    evidence = sound()
    evidence.ledger.append(called("call:1", 2))
    evidence.decided.append({"task": "t1", "step": "call:1", "verdict": "repeat"})
    assert broken(evidence) == set()


def test_a_slow_recovery_over_an_outage_is_told_apart() -> None:
    evidence = sound()
    evidence.events[3].at = START + timedelta(seconds=60)
    evidence.outages.append({"what": "x", "began": START.timestamp() + 4, "ended": START.timestamp() + 50})
    recovery = next(verdict for verdict in check(evidence) if verdict.name == "Recovery")
    assert isinstance(recovery, Verdict)
    assert recovery.holds
    assert "1 met an outage" in recovery.what
