"""What is learned from: a run that has ended, its journal, and what a person said of it. Each run once."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.scope import AccountScope, SystemScope

#: Most steps of one run that are looked at.
STEPS_MAX = 2000
#: Characters of a request that are compared.
ASKED_MAX = 500

_RUN = """
SELECT r.id, r.task_id, r.account_id, r.workflow, r.status, t.user_id, t.input,
    t.result, t.usage, t.children_usage, t.decision
FROM runs r JOIN tasks t ON t.id = r.task_id AND t.run_id = r.id WHERE r.id = %(run_id)s
"""
_STEPS = """
SELECT key, number, kind, status, result, error, request FROM steps
WHERE run_id = %(run_id)s AND account_id = %(account_id)s ORDER BY number, key LIMIT %(limit)s
"""
# Learners of one account go one after the other: they write the same tools and words.
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('umbel.patterns:' || %(account_id)s, 0))"
_BEGIN = """
INSERT INTO pattern_lessons (run_id, extractor, account_id, task_id, outcome, opinion)
VALUES (%(run_id)s, %(extractor)s, %(account_id)s, %(task_id)s, %(outcome)s, %(opinion)s)
ON CONFLICT (run_id, extractor) DO NOTHING RETURNING run_id
"""
_END = "UPDATE pattern_lessons SET learned = %(learned)s WHERE run_id = %(run_id)s AND extractor = %(extractor)s"
# Ids of runs begin with the time they were made at, so the key's index finds the newer ones.
_MISSED = """
SELECT r.id FROM runs r JOIN tasks t ON t.id = r.task_id AND t.run_id = r.id
WHERE r.id >= %(first)s AND r.workflow = ANY(%(workflows)s) AND r.status IN ('succeeded', 'failed', 'dead')
  AND r.finished_at < now() - %(quiet)s * interval '1 second'
  AND NOT EXISTS (SELECT FROM pattern_lessons l WHERE l.run_id = r.id AND l.extractor = %(extractor)s
    AND l.opinion IS NOT DISTINCT FROM t.decision->>'verdict')
ORDER BY r.id LIMIT %(limit)s
"""
_OPINION = """
UPDATE pattern_lessons l SET opinion = %(opinion)s
WHERE l.run_id = %(run_id)s AND l.extractor = %(extractor)s AND l.opinion IS DISTINCT FROM %(opinion)s
RETURNING l.outcome
"""
_JUDGED = """
UPDATE pattern_outcomes SET success = %(success)s, verifier = CASE WHEN %(success)s THEN 'person' END
WHERE account_id = %(account_id)s AND run_id = %(run_id)s
"""
_SPOKEN_FOR = """
UPDATE pattern_evidence SET verifier = CASE WHEN %(success)s THEN 'person' END
WHERE account_id = %(account_id)s AND run_id = %(run_id)s RETURNING pattern_id
"""
# A rejected run no longer speaks for a pattern: one that nobody else's run speaks for is a candidate again.
_ADMITTED = """
UPDATE patterns p SET state = CASE WHEN %(success)s THEN 'active' ELSE 'candidate' END, updated_at = now()
WHERE account_id = %(account_id)s AND id = ANY(%(ids)s::uuid[]) AND NOT pinned
  AND state = CASE WHEN %(success)s THEN 'candidate' ELSE 'active' END
  AND (%(success)s OR NOT EXISTS (
    SELECT FROM pattern_evidence e WHERE e.pattern_id = p.id AND e.account_id = p.account_id
      AND e.verifier IS NOT NULL))
  AND NOT EXISTS (SELECT FROM pattern_changes c WHERE c.account_id = p.account_id AND c.pattern_id = p.id
    AND c.change = 'active' AND (c.user_id IS NOT NULL OR c.key_id IS NOT NULL))
RETURNING id
"""
_ASKED = """
SELECT p.id, t.prompt FROM unnest(%(ids)s::uuid[]) AS p(id), LATERAL (
    SELECT left(t.input->>'prompt', %(most)s) AS prompt
    FROM pattern_evidence e JOIN tasks t ON t.id = e.task_id AND t.account_id = e.account_id
    WHERE e.account_id = %(account_id)s AND e.pattern_id = p.id ORDER BY e.at, e.run_id LIMIT %(each)s) t
WHERE t.prompt IS NOT NULL
"""


class RunTold(NamedTuple):
    """The current run of a task, and what the task says of it."""

    run_id: UUID
    task_id: UUID
    account_id: UUID
    workflow: str
    status: str
    user_id: UUID | None
    input: Any
    result: Any
    usage: dict[str, Any]
    children_usage: dict[str, dict[str, Any]]
    decision: dict[str, Any] | None


class StepTold(NamedTuple):
    """A step as recorded."""

    key: str
    number: int
    kind: str
    status: str
    result: Any
    error: dict[str, Any] | None
    request: Any


@dataclass(frozen=True, slots=True)
class Lesson:
    """That a run is being learned from; `outcome` is one word."""

    run_id: UUID
    task_id: UUID
    extractor: int
    outcome: str
    opinion: str | None


def run(connection: Connection, scope: SystemScope, run_id: UUID) -> RunTold | None:
    """Return a run with its task's input and result; None if there is none, or the task was retried since."""
    row = connection.exec_driver_sql(_RUN, {"run_id": run_id}).one_or_none()
    if row is None:
        return None
    told = RunTold(*row)
    given, result = (payloads.unpack(connection, told.account_id, each) for each in (told.input, told.result))
    return told._replace(input=given, result=result)


def steps(connection: Connection, scope: AccountScope, run_id: UUID) -> list[StepTold]:
    """Return a run's steps in the order they began, large results included."""
    asked = {"account_id": scope.account_id, "run_id": run_id, "limit": STEPS_MAX}
    rows = [StepTold(*row) for row in connection.exec_driver_sql(_STEPS, asked).all()]
    return [row._replace(result=payloads.unpack(connection, scope.account_id, row.result)) for row in rows]


def begin(connection: Connection, scope: AccountScope, lesson: Lesson) -> bool:
    """Note that a run is learned from; return whether it is this one who does. What comes of it must be written in
    the same transaction.
    """
    connection.exec_driver_sql(_ALONE, {"account_id": str(scope.account_id)})
    values = {"account_id": scope.account_id, **asdict(lesson)}
    return connection.exec_driver_sql(_BEGIN, values).one_or_none() is not None


def end(connection: Connection, scope: AccountScope, lesson: Lesson, learned: int) -> None:
    """Note how many patterns a run showed."""
    values = {"run_id": lesson.run_id, "extractor": lesson.extractor, "learned": learned}
    connection.exec_driver_sql(_END, values)


def missed(
    connection: Connection,
    scope: SystemScope,
    workflows: Collection[str],
    extractor: int,
    first: UUID,
    quiet_s: float,
    limit: int,
) -> list[UUID]:
    """Return runs that ended and were not learned from, and those a person has judged since.

    Args:
        connection: an open transaction.
        scope: the reconciler's.
        workflows: names of those that are learned from.
        extractor: version of what learns.
        first: lowest id of a run that is looked at.
        quiet_s: how long ago a run must have ended, in seconds: its own bell comes first.
        limit: most to return.
    """
    asked = {"workflows": list(workflows), "extractor": extractor, "first": first, "quiet": quiet_s, "limit": limit}
    return [row[0] for row in connection.exec_driver_sql(_MISSED, asked)]


def judged(connection: Connection, scope: AccountScope, lesson: Lesson) -> list[UUID] | None:
    """Count what a person said of a run that was learned from before.

    Returns:
        The patterns whose state that changed; None if there was nothing new to count.
    """
    told = {"run_id": lesson.run_id, "extractor": lesson.extractor, "opinion": lesson.opinion}
    if connection.exec_driver_sql(_OPINION, told).one_or_none() is None or lesson.opinion is None:
        return None
    success = lesson.opinion == "accepted"
    judgement = {"account_id": scope.account_id, "run_id": lesson.run_id, "success": success}
    connection.exec_driver_sql(_JUDGED, judgement)
    ids = [row[0] for row in connection.exec_driver_sql(_SPOKEN_FOR, judgement)]
    changed = connection.exec_driver_sql(_ADMITTED, {**judgement, "ids": ids})
    return [row[0] for row in changed]


def asked(connection: Connection, scope: AccountScope, ids: Sequence[UUID], each: int = 3) -> dict[UUID, list[str]]:
    """Return how the requests of the first tasks began that showed patterns; none of inputs too large for their row.

    Vectors are made of them, too. They are read where they are: no pattern has a copy, and a task takes its with it.
    """
    found: dict[UUID, list[str]] = {pattern_id: [] for pattern_id in ids}
    values = {"account_id": scope.account_id, "ids": list(ids), "each": each, "most": ASKED_MAX}
    for row in connection.exec_driver_sql(_ASKED, values):
        found[row[0]].append(row[1])
    return found
