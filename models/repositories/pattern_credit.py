"""What patterns have proved, and what all of them together have: read from exposures and from how runs ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models.prepared import Prepared
from models.scope import AccountScope

#: Runs of one pattern that are looked at, the oldest first: a verdict depends on their order.
TRIALS_MAX = 20_000

_TRIALS = """
SELECT u.similarity, u.held_out, coalesce(u.followed, false), o.success FROM pattern_uses u
JOIN pattern_outcomes o ON o.run_id = u.run_id AND o.account_id = u.account_id
WHERE u.account_id = %(account_id)s AND u.pattern_id = %(id)s ORDER BY o.at, o.run_id LIMIT %(limit)s
"""
_SAVE = """
INSERT INTO pattern_credit AS c (pattern_id, account_id, verdict, value, lower, upper, runs, held_out)
SELECT id, account_id, %(verdict)s, %(value)s, %(lower)s, %(upper)s, %(runs)s, %(held_out)s
FROM patterns WHERE account_id = %(account_id)s AND id = %(id)s
ON CONFLICT (pattern_id) DO UPDATE SET verdict = EXCLUDED.verdict, value = EXCLUDED.value, lower = EXCLUDED.lower,
    upper = EXCLUDED.upper, runs = EXCLUDED.runs, held_out = EXCLUDED.held_out, updated_at = now()
WHERE c.account_id = EXCLUDED.account_id
"""
_OF = """
SELECT pattern_id, verdict, value, lower, upper, runs, held_out, updated_at FROM pattern_credit
WHERE account_id = %(account_id)s AND pattern_id = ANY(%(ids)s::uuid[])
"""
# Those that may be offered, with what they have proved and by how many runs they were shown.
_OFFERED = Prepared("patterns_offered", """
SELECT p.id, p.version, p.kind, p.title, p.situation, p.steps, c.verdict, shown.runs
FROM unnest(%(ids)s::uuid[]) AS wanted(id) JOIN patterns p ON p.id = wanted.id
LEFT JOIN pattern_credit c ON c.pattern_id = p.id AND c.account_id = p.account_id, LATERAL (
    SELECT count(*) AS runs FROM pattern_evidence e WHERE e.account_id = p.account_id AND e.pattern_id = p.id) AS shown
WHERE p.account_id = %(account_id)s::uuid AND p.state = 'active'
""")  # fmt: skip
# One row for each run that asked: what was shown, what was withheld, or nothing was known.
_RUNS = """
WITH asked AS (
    SELECT run_id, bool_or(held_out) AS held_out, bool_or(pattern_id IS NOT NULL) AS known FROM pattern_uses
    WHERE account_id = %(account_id)s AND (%(agent)s::text IS NULL OR agent = %(agent)s)
      AND (%(since)s::timestamptz IS NULL OR at >= %(since)s) GROUP BY run_id
)
SELECT CASE WHEN NOT known THEN 'unknown' WHEN held_out THEN 'held_out' ELSE 'given' END AS arm,
    count(*), count(o.run_id), count(*) FILTER (WHERE o.success),
    coalesce(avg(o.steps)::float8, 0), coalesce(var_samp(o.steps)::float8, 0),
    count(o.cost), coalesce(avg(o.cost)::float8, 0), coalesce(var_samp(o.cost)::float8, 0)
FROM asked LEFT JOIN pattern_outcomes o ON o.run_id = asked.run_id AND o.account_id = %(account_id)s
GROUP BY arm
"""
_USES = """
SELECT count(*) FILTER (WHERE u.rank <= 3), count(*) FILTER (WHERE u.rank <= 3 AND u.followed),
    count(*), count(*) FILTER (WHERE p.state = 'quarantined')
FROM pattern_uses u JOIN pattern_outcomes o ON o.run_id = u.run_id AND o.account_id = u.account_id
JOIN patterns p ON p.id = u.pattern_id AND p.account_id = u.account_id
WHERE u.account_id = %(account_id)s AND NOT u.held_out AND (%(agent)s::text IS NULL OR u.agent = %(agent)s)
  AND (%(since)s::timestamptz IS NULL OR u.at >= %(since)s)
"""
_STALE = """
SELECT count(*) FILTER (WHERE p.state = 'active'),
    count(*) FILTER (WHERE p.state = 'active' AND coalesce(e.at, p.created_at) < now() - interval '30 days'),
    count(*) FILTER (WHERE p.state = 'candidate'), count(*) FILTER (WHERE p.state = 'quarantined'),
    count(*) FILTER (WHERE p.state = 'retired'), count(*) FILTER (WHERE c.verdict = 'promote' AND p.state = 'active')
FROM patterns p
LEFT JOIN LATERAL (SELECT max(at) AS at FROM pattern_evidence WHERE pattern_id = p.id AND account_id = p.account_id) e
    ON true
LEFT JOIN pattern_credit c ON c.pattern_id = p.id
WHERE p.account_id = %(account_id)s AND (%(agent)s::text IS NULL OR p.agent = %(agent)s)
"""


class OfferedRow(NamedTuple):
    """A pattern as it may be offered: its last verdict, if it has one, and how many runs showed it."""

    id: UUID
    version: int
    kind: str
    title: str
    situation: str
    steps: list[dict[str, Any]]
    verdict: str | None
    runs: int


class TrialRow(NamedTuple):
    """A run a pattern was looked up for, and how it ended."""

    similarity: float
    held_out: bool
    followed: bool
    success: bool


class CreditRow(NamedTuple):
    """The last verdict on a pattern (`promote`, `quarantine` or `wait`), and its uplift with an interval."""

    pattern_id: UUID
    verdict: str
    value: float
    lower: float
    upper: float
    runs: int
    held_out: int
    updated_at: datetime


class ArmRow(NamedTuple):
    """Runs that asked for patterns, of one arm: `given`, `held_out` or `unknown` (there were none to give).

    `ended` of them have an end, `priced` a cost in USD that is known; means and variances are of those.
    """

    arm: str
    asked: int
    ended: int
    succeeded: int
    steps: float
    steps_variance: float
    priced: int
    cost: float
    cost_variance: float


class UsesRow(NamedTuple):
    """Exposures of ended runs: among the first three and followed, and all and those of what was quarantined."""

    first: int
    first_followed: int
    all: int
    harmful: int


class StatesRow(NamedTuple):
    """How many patterns there are; `stale` active ones were shown by no run for 30 days."""

    active: int
    stale: int
    candidate: int
    quarantined: int
    retired: int
    proven: int


def trials(connection: Connection, scope: AccountScope, pattern_id: UUID) -> list[TrialRow]:
    """Return the ended runs a pattern was looked up for, the first that ended first."""
    asked = {"account_id": scope.account_id, "id": pattern_id, "limit": TRIALS_MAX}
    return [TrialRow(*row) for row in connection.exec_driver_sql(_TRIALS, asked)]


def save(connection: Connection, scope: AccountScope, pattern_id: UUID, verdict: str, uplift: Sequence[float]) -> None:
    """Keep a verdict and its `value`, `lower`, `upper`, `runs`, `held_out`."""
    value, lower, upper, runs, held_out = uplift
    told = {"value": value, "lower": lower, "upper": upper, "runs": runs, "held_out": held_out, "verdict": verdict}
    connection.exec_driver_sql(_SAVE, {"account_id": scope.account_id, "id": pattern_id, **told})


def credits(connection: Connection, scope: AccountScope, ids: Sequence[UUID]) -> dict[UUID, CreditRow]:
    """Return what patterns have proved; one nobody judged yet is left out."""
    asked = {"account_id": scope.account_id, "ids": list(ids)}
    rows = [CreditRow(*row) for row in connection.exec_driver_sql(_OF, asked)]
    return {row.pattern_id: row for row in rows}


def offered(connection: Connection, scope: AccountScope, ids: Sequence[UUID]) -> list[OfferedRow]:
    """Return active patterns in the order of their ids given; another account's and missing ones are left out."""
    rows = _OFFERED(connection, {"account_id": scope.account_id, "ids": list(ids)})
    found = {row.id: row for row in (OfferedRow(*each) for each in rows)}
    return [found[each] for each in ids if each in found]


def arms(connection: Connection, scope: AccountScope, since: datetime | None, agent: str | None) -> list[ArmRow]:
    """Return how runs ended that asked for patterns, by what they were given."""
    return [ArmRow(*row) for row in connection.exec_driver_sql(_RUNS, _asked(scope, since, agent))]


def uses(connection: Connection, scope: AccountScope, since: datetime | None, agent: str | None) -> UsesRow:
    """Count exposures of ended runs."""
    return UsesRow(*connection.exec_driver_sql(_USES, _asked(scope, since, agent)).one())


def states(connection: Connection, scope: AccountScope, agent: str | None) -> StatesRow:
    """Count patterns by state."""
    return StatesRow(*connection.exec_driver_sql(_STALE, _asked(scope, None, agent)).one())


def _asked(scope: AccountScope, since: datetime | None, agent: str | None) -> dict[str, object]:
    return {"account_id": scope.account_id, "since": since, "agent": agent}
