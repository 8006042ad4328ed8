"""Settles what a run was given once it has ended: whether it followed it, and what that says of each pattern."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from models.patterns import PatternState
from models.repositories import pattern_changes, pattern_credit, pattern_uses, patterns
from models.repositories.pattern_uses import Offered
from models.scope import AccountScope
from worker.patterns.credit import Trial, Verdict, followed, uplift, verdict

#: Key of the step in which a run looked up patterns.
STEP = "patterns"


def credit(
    connection: Any, scope: AccountScope, run_id: UUID, task_id: UUID, recorded: Mapping[str, Any], used: Sequence[str]
) -> None:
    """Record a run's exposures and judge the patterns again. Repeating it changes nothing.

    Args:
        connection: the transaction in which the run's outcome is written, which comes first.
        scope: the run's account.
        run_id: the run, which has ended.
        task_id: its task.
        recorded: the result of its step `patterns`.
        used: names of the tools it called, in order.
    """
    offered = [
        Offered(UUID(each["id"]), each["version"], each["similarity"], each["rank"]) for each in recorded["patterns"]
    ]
    agent, held_out = recorded.get("agent", ""), bool(recorded["held_out"])
    pattern_uses.offer(connection, scope, run_id, task_id, offered, agent=agent, held_out=held_out)
    rows = {row.id: row for row in patterns.get_all(connection, scope, [each.pattern_id for each in offered])}
    if not held_out:
        told = {each.pattern_id: _followed(each, rows, used) for each in offered if each.pattern_id in rows}
        pattern_uses.followed(connection, scope, run_id, told)
    for pattern_id in sorted(rows):
        judge(connection, scope, pattern_id)


def judge(connection: Any, scope: AccountScope, pattern_id: UUID) -> Verdict:
    """Look at all the runs a pattern was looked up for, keep the verdict, and quarantine one that does harm."""
    trials = [
        Trial(row.similarity, None if row.held_out else row.followed, row.success)
        for row in pattern_credit.trials(connection, scope, pattern_id)
    ]
    said = verdict(trials)
    measured = uplift(trials)
    pattern_credit.save(connection, scope, pattern_id, said, measured)
    row = patterns.get(connection, scope, pattern_id)
    if said is Verdict.QUARANTINE and row.state == PatternState.ACTIVE and not row.pinned:
        reason = f"runs that followed it succeeded {-measured.value:.0%} less often than those it was withheld from"
        pattern_changes.move(connection, scope, pattern_id, PatternState.QUARANTINED, reason)
    return said


def _followed(each: Offered, rows: Mapping[UUID, patterns.PatternRow], used: Sequence[str]) -> tuple[bool, float]:
    did = followed([step["tool"] for step in rows[each.pattern_id].steps], used)
    return did, max(each.similarity, 0.0) if did else 0.0
