"""The checker: a program of its own that reads the record, the provider's ledger and what was accepted, and judges.

It knows the tables, not the product: plain SQL and plain Python, so that it cannot share a mistake with what it checks.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import psycopg2
from psycopg2.extras import NamedTupleCursor

from chaos.provider import read_ledger

TERMINAL = ("succeeded", "failed", "cancelled", "dead")
FINAL = tuple(f"task.{status}" for status in TERMINAL)
EXAMPLES = 5


@dataclass
class Verdict:
    """One invariant: how many things were looked at, and which of them break it."""

    name: str
    what: str
    looked_at: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing breaks it."""
        return not self.broken


@dataclass
class Evidence:
    """Everything a round left behind."""

    tasks: list[Any]
    runs: list[Any]
    steps: list[Any]
    events: list[Any]
    ledger: list[dict[str, Any]]
    accepted: list[dict[str, Any]]
    decided: list[dict[str, Any]]
    losses: list[dict[str, Any]]
    outages: list[dict[str, Any]]
    watched: list[dict[str, Any]]
    lease_s: float

    @cached_property
    def by_run(self) -> dict[str, list[Any]]:
        """Events of each run, in their order."""
        return _grouped(self.events, lambda event: event.run_id)

    @cached_property
    def by_task(self) -> dict[str, list[Any]]:
        """Events of each task, in their order."""
        return _grouped(self.events, lambda event: event.task_id)

    @cached_property
    def step_of(self) -> dict[str, Any]:
        """The step of each key in the ledger; a model is sent no key, so its lines name task and step."""
        ids = {str(line["number"]): line["id"] for line in self.accepted if "number" in line}
        places = {(step.task_id, step.key): step for step in self.steps}
        found = {step.idempotency_key: step for step in self.steps}
        for line in self.ledger:
            if step := places.get((ids.get(line["task"], ""), line.get("step", ""))):
                found[line["key"]] = step
        return found


def check(evidence: Evidence) -> list[Verdict]:
    """Judge every invariant."""
    return [judge(evidence) for judge in JUDGES]


def no_loss(e: Evidence) -> Verdict:
    """I1."""
    verdict = Verdict("I1 NoLoss", "every accepted task ended, and its run agrees", len(e.accepted))
    tasks, runs = {task.id: task for task in e.tasks}, {run.id: run for run in e.runs}
    for line in e.accepted:
        task = tasks.get(line["id"])
        if task is None:
            verdict.broken.append(f"{line['id']} was accepted and is not in the record")
        elif task.status not in TERMINAL:
            verdict.broken.append(f"{task.id} ({line['kind']}) is still {task.status} {task.waiting or ''}")
        elif task.run_id not in runs or runs[task.run_id].status != task.status:
            verdict.broken.append(f"{task.id} is {task.status}, its run is not")
    return verdict


def single_writer(e: Evidence) -> Verdict:
    """I2."""
    verdict = Verdict("I2 SingleWriter", "each claim has the next fence, and nothing was written under an older one")
    fences = {run.id: run.fence for run in e.runs}
    for run, events in e.by_run.items():
        claims = [event.data["attempt"] for event in events if event.type in ("task.started", "task.resumed")]
        verdict.looked_at += len(claims)
        if claims != list(range(1, fences.get(run, 0) + 1)):
            verdict.broken.append(f"run {run}: claims {claims}, fence {fences.get(run)}")
    for step in e.steps:
        if step.fence > fences.get(step.run_id, 0):
            verdict.broken.append(f"run {step.run_id}: step {step.key} has fence {step.fence}")
    return verdict


def terminal_once(e: Evidence) -> Verdict:
    """I3."""
    verdict = Verdict("I3 TerminalOnce", "each ended run has one final event, and it is the last", len(e.runs))
    for run in e.runs:
        events = e.by_run.get(run.id, [])
        finals = [event.type for event in events if event.type in FINAL]
        expected = [f"task.{run.status}"] if run.status in TERMINAL else []
        last = events[-1].type if events else ""
        if finals != expected or (expected and last not in (*FINAL, "approval.decided")):
            verdict.broken.append(f"run {run.id} is {run.status}: final events {finals}, the last event is {last}")
    return verdict


def step_once(e: Evidence) -> Verdict:
    """I4."""
    verdict = Verdict("I4 StepOnce", "one result for each step, and of a call it is the charge the provider made")
    charges = {_place(e.step_of.get(line["key"])): line["charge"] for line in e.ledger if line["charge"]}
    for run, events in e.by_run.items():
        done = Counter(event.data["step"] for event in events if event.type == "step.completed")
        verdict.looked_at += len(done)
        verdict.broken += [f"run {run}: step {step} completed {n} times" for step, n in done.items() if n > 1]
    for step in e.steps:
        body = _body(step)
        if isinstance(body, dict) and body.get("charge") != charges.get(_place(step)):
            verdict.broken.append(f"run {step.run_id}: {step.key} recorded charge {body}, the provider made another")
    return verdict


def bounded_repeat(e: Evidence) -> Verdict:
    """I5."""
    repeated, unsafe = _repeats(e)
    at_risk = sum(loss["calls"] for loss in e.losses)
    verdict = Verdict(
        "I5 BoundedRepeat", f"{sum(repeated.values())} calls repeated, {at_risk} were cut off", len(e.ledger)
    )
    if sum(repeated.values()) > at_risk:
        verdict.broken.append(f"{sum(repeated.values())} calls were repeated, only {at_risk} had been cut off")
    verdict.broken += [f"unsafe call {key} was made {extra} times too often" for key, extra in unsafe.items()]
    return verdict


def model_calls(e: Evidence) -> Verdict:
    """I5, for agents: no request that a model answered is unknown to the record."""
    verdict = Verdict("I5 ModelCalls", "a model was asked for a step no more often than the record has tries of it")
    times = Counter(line["key"] for line in e.ledger if line.get("step", "").startswith("model:"))
    verdict.looked_at = len(times)
    for key, calls in times.items():
        step = e.step_of.get(key)
        if step is None or calls > step.attempts:
            tries = "no" if step is None else step.attempts
            verdict.broken.append(f"model call {key} was made {calls} times, its step records {tries} tries")
    return verdict


def paid_once(e: Evidence) -> Verdict:
    """I5, the part that costs money: a repeated call carries the key of the first."""
    verdict = Verdict("I5 PaidOnce", "every step of a task was charged under one key")
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in e.ledger:
        if line["charge"]:
            keys[line["task"], line["key"].partition(":")[2]].add(line["key"])
    verdict.looked_at = len(keys)
    for (task, step), found in keys.items():
        if len(found) > 1:
            verdict.broken.append(f"task {task}, {step}: charged under {len(found)} keys")
    return verdict


def dense(e: Evidence) -> Verdict:
    """I6, in the record."""
    verdict = Verdict("I6 SeqDense", "events are numbered 1..n for each task", len(e.events))
    for task in e.tasks:
        numbers = [event.seq for event in e.by_task.get(task.id, [])]
        if numbers != list(range(1, task.last_seq + 1)):
            verdict.broken.append(f"task {task.id}: last_seq {task.last_seq}, events {_gaps(numbers)}")
    return verdict


def watched_whole(e: Evidence) -> Verdict:
    """I6, as clients saw it."""
    verdict = Verdict("I6 Streams", "every watcher saw exactly 1..n, in order, whatever happened to its connection")
    last = {task.id: task.last_seq for task in e.tasks}
    for line in e.watched:
        seqs, task = line["seqs"], line["task"]
        verdict.looked_at += len(seqs)
        if not line["ended"]:
            verdict.broken.append(f"watcher of {task} ({line['how']}) never saw the end, it had {len(seqs)}")
        elif seqs != list(range(1, len(seqs) + 1)) or len(seqs) > last.get(task, 0):
            verdict.broken.append(f"watcher of {task} ({line['how']}) saw {_gaps(seqs)} of {last.get(task)}")
    return verdict


def one_task_for_a_key(e: Evidence) -> Verdict:
    """I7."""
    verdict = Verdict("I7 IdemSubmit", "one task for each idempotency key", len(e.tasks))
    ids = {line["key"]: line["id"] for line in e.accepted}
    for task in e.tasks:
        if task.idempotency_key in ids and ids[task.idempotency_key] != task.id:
            verdict.broken.append(f"key {task.idempotency_key} made {task.id} beside {ids[task.idempotency_key]}")
    doubled = Counter(task.idempotency_key for task in e.tasks if task.idempotency_key)
    verdict.broken += [f"key {key} made {n} tasks" for key, n in doubled.items() if n > 1]
    return verdict


def cancel_sticks(e: Evidence) -> Verdict:
    """I9."""
    verdict = Verdict("I9 CancelSticks", "no step starts once a cancel was acknowledged")
    for run in e.runs:
        if run.cancel_acknowledged_at is None:
            continue
        verdict.looked_at += 1
        for event in e.by_run.get(run.id, []):
            if event.type in ("step.started", "step.restarted") and event.at > run.cancel_acknowledged_at:
                verdict.broken.append(f"run {run.id}: {event.data['step']} started after the cancel was acknowledged")
    return verdict


def families(e: Evidence) -> Verdict:
    """Tasks that tasks start."""
    verdict = Verdict("Families", "each step that starts a task started one, and no child outlives what it belongs to")
    born = {step.result["task_id"] for step in e.steps if step.kind == "spawn" and step.status == "completed"}
    tasks = {task.id: task for task in e.tasks}
    children = [task for task in e.tasks if task.parent_task_id]
    verdict.looked_at = len(children)
    verdict.broken += [f"the child {each} was recorded and is not there" for each in born - tasks.keys()]
    for child in children:
        parent = tasks.get(child.parent_task_id)
        if child.id not in born:
            verdict.broken.append(f"{child.id} was started by {child.parent_task_id}, which has no step of it")
        if parent is None or (parent.status in TERMINAL and child.status not in TERMINAL):
            verdict.broken.append(f"{child.id} is {child.status}, its parent {parent and parent.status}")
    return verdict


def recovered(e: Evidence) -> Verdict:
    """How long a run whose worker was lost stood still, told apart by whether it met an outage of a server."""
    times = sorted(seconds for seconds, met in _recoveries(e) if not met)
    outages = sorted(seconds for seconds, met in _recoveries(e) if met)
    limit, p95 = e.lease_s + 5, _percentile(times, 0.95)
    standing = f"p50 {_percentile(times, 0.5):.1f} s, p95 {p95:.1f} s, longest {max(times, default=0):.1f} s"
    others = f"; {len(outages)} met an outage, longest {max(outages, default=0):.1f} s" if outages else ""
    verdict = Verdict("Recovery", f"lost runs go on: {standing} (lease {e.lease_s:g} s){others}", len(times))
    if p95 > limit:
        verdict.broken.append(f"p95 is {p95:.1f} s, more than the lease and 5 s")
    return verdict


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


JUDGES = (
    *(no_loss, single_writer, terminal_once, step_once, bounded_repeat, model_calls, paid_once, dense, watched_whole),
    *(one_task_for_a_key, cancel_sticks, families, recovered),
)


def _repeats(e: Evidence) -> tuple[dict[str, int], dict[str, int]]:
    """Calls of a key that neither a recorded failure nor a person explains: of all steps, and of unsafe ones."""
    failed = Counter((event.task_id, event.data["step"]) for event in e.events if event.type == "step.failed")
    repeated = Counter((line["task"], line["step"]) for line in e.decided if line["verdict"] == "repeat")
    extra: dict[str, int] = {}
    unsafe: dict[str, int] = {}
    for key, calls in Counter(line["key"] for line in e.ledger).items():
        step = e.step_of.get(key)
        where = _place(step)
        over = calls - 1 - failed[where] - repeated[where]
        if over > 0:
            extra[key] = over
            if step is not None and step.effect == "unsafe":
                unsafe[key] = over
    return extra, unsafe


def _place(step: Any) -> tuple[str, str]:
    return (step.task_id, step.key) if step else ("", "")


def _body(step: Any) -> Any:
    """What the provider answered to a finished call, of the probe or of an agent's tool."""
    result = (step.result or {}) if step.kind in ("call", "tool") and step.status == "completed" else {}
    data = result.get("data") if step.kind == "tool" else result
    return data.get("body") if isinstance(data, dict) else None


def _recoveries(e: Evidence) -> Iterator[tuple[float, bool]]:
    """Seconds from the loss of a run's worker to the run's next claim, and whether an outage fell between."""
    losses = _grouped(e.losses, lambda loss: str(loss["pid"]))
    for events in e.by_run.values():
        claims = [event for event in events if event.type in ("task.started", "task.resumed")]
        for before, after in pairwise(claims):
            if after.data.get("after") != "worker_lost":
                continue
            began, ended = before.at.timestamp(), after.at.timestamp()
            known = (loss["at"] for loss in losses.get(before.data["worker"].split(":")[1], []))
            lost = min((moment for moment in known if began <= moment <= ended), default=None)
            if lost is not None:
                met = any(outage["began"] < ended and outage["ended"] > lost for outage in e.outages)
                yield ended - lost, met


def _grouped(items: Iterable[Any], key: Callable[[Any], str]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def _gaps(numbers: list[int]) -> str:
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
    twice = sorted(number for number, n in Counter(numbers).items() if n > 1)
    return f"{len(numbers)} events, missing {missing[:5]}, twice {twice[:5]}, in order: {numbers == sorted(numbers)}"


QUERIES = {
    "tasks": "SELECT id::text, run_id::text, status, waiting, idempotency_key, last_seq, parent_task_id::text "
    "FROM tasks",
    "runs": "SELECT id::text, task_id::text, number, status, fence, crashes, cancel_acknowledged_at FROM runs",
    "steps": "SELECT run_id::text, task_id::text, key, kind, effect, status, fence, attempts, idempotency_key, result "
    "FROM steps",
    "events": "SELECT task_id::text, run_id::text, seq, type, at, data FROM events ORDER BY task_id, seq",
}


def gather(database: str, folder: Path, ledger: Path, lease_s: float) -> Evidence:
    """Read everything."""
    connection = psycopg2.connect(database)
    with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
        rows = {name: _all(cursor, query) for name, query in QUERIES.items()}
    connection.close()
    lines = {name: read_ledger(folder / f"{name}.jsonl") for name in ("accepted", "decided", "watched")}
    notes = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("losses", "outages")}
    return Evidence(**rows, **lines, **notes, ledger=read_ledger(ledger), lease_s=lease_s)


def _all(cursor: Any, query: str) -> list[Any]:
    cursor.execute(query)
    return list(cursor.fetchall())


def totals(e: Evidence) -> dict[str, Any]:
    """What there was."""
    repeated, unsafe = _repeats(e)
    accepted = {line["id"]: line["kind"] for line in e.accepted}
    ended = Counter(task.status for task in e.tasks if task.id in accepted)
    return {
        "accepted": len(e.accepted),
        "ended": dict(ended),
        "lost": sum(ended[status] for status in ended if status not in TERMINAL) + len(accepted) - sum(ended.values()),
        "runs": len(e.runs),
        "claims": sum(run.fence for run in e.runs),
        "events": len(e.events),
        "calls": len(e.ledger),
        "repeated_calls": sum(repeated.values()),
        "repeated_unsafe_calls": sum(unsafe.values()),
        "calls_cut_off": sum(loss["calls"] for loss in e.losses),
        "watchers": len(e.watched),
        "reconnects": sum(line.get("reconnects", 0) for line in e.watched),
        "recoveries_s": [round(seconds, 2) for seconds, met in _recoveries(e) if not met],
        "recoveries_over_an_outage_s": [round(seconds, 2) for seconds, met in _recoveries(e) if met],
    }


@click.command()
@click.option("--database", envvar="CHAOS_DATABASE", required=True, help="PostgreSQL URL; better in CHAOS_DATABASE.")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where the round wrote its own record.")
@click.option("--ledger", type=click.Path(path_type=Path), required=True)
@click.option("--lease", type=float, required=True, help="Seconds.")
def main(database: str, folder: Path, ledger: Path, lease: float) -> None:
    """Print the verdicts as JSON; end with 1 if one is broken."""
    evidence = gather(database, folder, ledger, lease)
    verdicts = check(evidence)
    shown = [asdict(verdict) | {"holds": verdict.holds, "broken_count": len(verdict.broken)} for verdict in verdicts]
    for verdict in shown:
        verdict["broken"] = verdict["broken"][:EXAMPLES]
    print(json.dumps({"verdicts": shown, "totals": totals(evidence)}))
    sys.exit(0 if all(verdict.holds for verdict in verdicts) else 1)


if __name__ == "__main__":
    main()
