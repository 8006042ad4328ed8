"""The product, broken on purpose, in one process only: what it shows is that the checker notices.

`apply` patches the product in this process before it starts: the nursery calls it in a forked worker, and
`python -m chaos.mutants NAME module arguments...` runs any other program of the product so.

    no-fence   Fenced writes are accepted whatever their fence, and nobody is told that its lease was lost.
    no-doubt   An unsafe step that a lost worker had started is done again without asking anyone.
    no-ring    Nobody is rung for a new task: not after the commit that accepted it, and not by the reconciler.

For `no-ring` the reconciler has to go too: with it, a task whose bell was forgotten starts two seconds late, which is
what the reconciler is there for.
"""

from __future__ import annotations

from collections.abc import Callable

from models.prepared import Prepared

_FENCED = "runs.fence = given.fence AND runs.status = 'running'"
_NUMBERED = "EXISTS (SELECT 1 FROM tasks WHERE tasks.id = given.task AND tasks.last_seq = given.seq)"
_RENEWED = "AND runs.fence = held.fence"
_NEW_RUNS = "(status = 'queued' AND ("


def apply(name: str) -> None:
    """Break the product in this process.

    Raises:
        KeyError: there is no such mutant.
    """
    MUTANTS[name]()


def _no_fence() -> None:
    from models.repositories import journal, runs

    # An event's number is taken from the task's row instead of from the writer, or the numbers would clash.
    record = _without(journal.__dict__["_RECORD_SQL"], _FENCED, _NUMBERED)
    record = _replaced(record, "held.n, held.seq,", "held.n, tasks.last_seq - held.count AS seq,")
    move = _without(journal.__dict__["_MOVE_SQL"], _FENCED, _NUMBERED)
    move = _replaced(move, "given.seq, given.event", "tasks.last_seq - 1 AS seq, given.event")
    _patch(journal, _RECORD=Prepared("unfenced_record", record), _MOVE=Prepared("unfenced_move", move))
    still_mine = _replaced(runs.__dict__["_STILL_MINE"], " WHERE runs.status = 'running'", "")
    _patch(
        runs, _RENEW=_replaced(runs.__dict__["_RENEW"], _RENEWED, ""), _STILL_MINE=_replaced(still_mine, _RENEWED, "")
    )


def _no_doubt() -> None:
    from worker.journal import Journal

    async def repeat(*asked: object) -> str:
        return "repeat"

    _patch(Journal, _verdict=repeat)


def _no_ring() -> None:
    from models.repositories import sweep
    from tasks import dispatch

    _patch(dispatch, ring=lambda *arguments, **options: True)
    # A run that has been started before is still rung for: its timers and lost workers are not what is removed.
    due = sweep.__dict__["_DUE"]
    _patch(sweep, _DUE=_replaced(due, _NEW_RUNS, "(status = 'queued' AND started_at IS NOT NULL AND ("))


MUTANTS: dict[str, Callable[[], None]] = {"no-fence": _no_fence, "no-doubt": _no_doubt, "no-ring": _no_ring}


def _without(sql: str, *conditions: str) -> str:
    for condition in conditions:
        sql = _replaced(sql, condition, "true")
    return sql


def _replaced(sql: str, old: str, new: str) -> str:
    if sql.count(old) != 1:
        raise RuntimeError(f"the product changed: mend the mutant, it looks for {old!r} in\n{sql}")
    return sql.replace(old, new)


def _patch(owner: object, **values: object) -> None:
    for name, value in values.items():
        if not hasattr(owner, name):
            raise RuntimeError(f"the product changed: mend the mutant, {owner!r} has no {name}")
        setattr(owner, name, value)
