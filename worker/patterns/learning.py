"""Learns from one run that has ended: once, in one transaction, whoever is told of it and however often."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from models.patterns import Verifier
from models.repositories import graph, lessons, pattern_changes, pattern_uses, patterns
from models.repositories.lessons import Lesson, RunTold, StepTold
from models.scope import RECONCILER, AccountScope
from models.tasks import TERMINAL, Status, StepStatus
from worker.patterns.crediting import STEP as GIVEN
from worker.patterns.crediting import credit, judge
from worker.patterns.definitions import defined
from worker.patterns.facts import Known, facts_of
from worker.patterns.lessons import Taught, agent_of, taught_by
from worker.patterns.stages import calls_of_stages, stages_of
from worker.patterns.trace import Call, calls_of
from worker.patterns.verdict import Verdict, opinion_of, verdict_of

#: Version of what is learned from a run. A higher one learns from runs anew, as far back as the reconciler looks.
EXTRACTOR = 1

log = logging.getLogger(__name__)


class Result(StrEnum):
    """What became of being told of a run."""

    UNKNOWN = "unknown"  #: there is no such run, or it has not ended
    KNOWN = "known"  #: it was learned from before
    JUDGED = "judged"  #: it was, and now what a person said of it counts
    CANCELLED = "cancelled"  #: nobody knows where it would have led
    SYNTHETIC = "synthetic"  #: a script played the model: it teaches nothing
    UNREADABLE = "unreadable"  #: its journal is not of a form that can be learned from
    LEARNED = "learned"


@dataclass(frozen=True, slots=True)
class _Read:
    """A run as far as it teaches."""

    steps: Sequence[StepTold]
    calls: Sequence[Call]
    verdict: Verdict
    taught: Taught
    tools: dict[str, str]


def learn(connection: Any, run_id: UUID) -> Result:
    """Learn from a run. All of it is written, or nothing.

    Args:
        connection: an open transaction.
        run_id: a run of any account; it teaches its own account only.
    """
    run = lessons.run(connection, RECONCILER, run_id)
    if run is None or Status(run.status) not in TERMINAL:
        return Result.UNKNOWN
    scope = AccountScope(run.account_id)
    result, read = _read(connection, scope, run)
    lesson = Lesson(run.run_id, run.task_id, EXTRACTOR, result, opinion_of(run))
    if not lessons.begin(connection, scope, lesson):
        return _judge(connection, scope, lesson)
    if read is not None:
        _write(connection, scope, run, read)
        lessons.end(connection, scope, lesson, len(read.taught.patterns))
    return result


def _read(connection: Any, scope: AccountScope, run: RunTold) -> tuple[Result, _Read | None]:
    if run.status == Status.CANCELLED:
        return Result.CANCELLED, None
    if synthetic(run):
        return Result.SYNTHETIC, None
    steps = lessons.steps(connection, scope, run.run_id)
    try:
        return Result.LEARNED, _understood(run, steps)
    except Exception as error:  # of whatever form a journal is: one run must not be tried for ever
        log.exception("a run can't be learned from", extra={"run_id": str(run.run_id), "reason": type(error).__name__})
        return Result.UNREADABLE, None


def synthetic(run: RunTold) -> bool:
    """Whether a script played the model, in the run itself or in one of its children."""
    return any(each.get("synthetic") for each in (run.usage, *run.children_usage.values()))


def _understood(run: RunTold, steps: Sequence[StepTold]) -> _Read:
    calls, tools = [*calls_of(steps), *calls_of_stages(run, steps)], defined(steps) | stages_of(run)
    verdict = verdict_of(run, steps, calls)
    had = {call.tool for call in calls} | set(_given(run))
    chosen = {name: tool for name, tool in tools.items() if name in had}
    taught = taught_by(run, calls, chosen, succeeded=verdict.success)
    return _Read(steps, calls, verdict, taught, {name: tool.hash for name, tool in chosen.items()})


def _given(run: RunTold) -> list[str]:
    tools = run.input.get("tools") if isinstance(run.input, dict) else None
    return [each for each in tools if isinstance(each, str)] if isinstance(tools, list) else []


def _write(connection: Any, scope: AccountScope, run: RunTold, read: _Read) -> None:
    agent, verifier = agent_of(run), read.verdict.verifier
    pattern_uses.ended(connection, scope, _outcome(run, read))
    pattern_changes.expire(connection, scope, agent, read.tools)
    shown = patterns.Shown(run.run_id, run.task_id, verifier)
    known = []
    for new in sorted(read.taught.patterns, key=lambda each: each.digest):
        learned = patterns.learn(connection, scope, new, shown)
        older = patterns.outdated(connection, scope, learned.id) if learned.created else []
        known.append(Known(learned.id, new, tuple(older), learned.told))
    calls = [call for call in read.calls if call.tool in read.tools]
    graph.write(connection, scope, facts_of(run, read.steps, calls, read.taught, known))
    told = next((step.result for step in read.steps if step.key == GIVEN and step.status == StepStatus.COMPLETED), None)
    if told is not None:
        credit(connection, scope, run.run_id, run.task_id, told, [call.tool for call in read.calls])


def _outcome(run: RunTold, read: _Read) -> pattern_uses.Outcome:
    used = run.usage
    cost = None if used.get("unpriced_steps") or used.get("usd") is None else Decimal(str(used["usd"]))
    tokens = sum(int(used.get(name) or 0) for name in ("input_tokens", "output_tokens"))
    counts = (int(used.get("steps") or 0), int(used.get("tool_calls") or 0), tokens, cost)
    verdict = read.verdict
    return pattern_uses.Outcome(run.run_id, run.task_id, agent_of(run), verdict.success, verdict.verifier, *counts)


def _judge(connection: Any, scope: AccountScope, lesson: Lesson) -> Result:
    changed = lessons.judged(connection, scope, lesson)
    if changed is None:
        return Result.KNOWN
    if changed:
        accepted = lesson.opinion == "accepted"
        reason = Verifier.PERSON if accepted else "a person rejected the only result that spoke for it"
        patterns.changed(connection, scope, changed, "admitted" if accepted else "doubted", reason)
    for use in pattern_uses.of_run(connection, scope, lesson.run_id):
        if use.pattern_id is not None:  # the run's success is another one now, and so may be what it says of them
            judge(connection, scope, use.pattern_id)
    return Result.JUDGED
