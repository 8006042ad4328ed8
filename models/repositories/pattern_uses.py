"""Which patterns a run was offered, which were held back from it, and how it ended: what credit is measured by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.base import new_id
from models.scope import AccountScope

# A run that is carried on after a crash offers the same again: what was recorded first stands.
_OFFER = """
INSERT INTO pattern_uses (id, account_id, task_id, run_id, pattern_id, version, agent, similarity, rank, held_out)
SELECT id, %(account_id)s, %(task_id)s, %(run_id)s, p.pattern_id, version, %(agent)s, similarity, rank, %(held_out)s
FROM jsonb_to_recordset(%(uses)s::jsonb) AS p(id uuid, pattern_id uuid, version int, similarity real, rank int)
WHERE p.pattern_id IS NULL OR EXISTS (
    SELECT FROM patterns WHERE account_id = %(account_id)s AND patterns.id = p.pattern_id)
ON CONFLICT (run_id, pattern_id) DO NOTHING
"""
_FOLLOWED = """
UPDATE pattern_uses u SET followed = f.followed, weight = f.weight
FROM jsonb_to_recordset(%(followed)s::jsonb) AS f(pattern_id uuid, followed boolean, weight real)
WHERE u.account_id = %(account_id)s AND u.run_id = %(run_id)s AND u.pattern_id = f.pattern_id
"""
_OF_RUN = """
SELECT pattern_id, version, similarity, rank, held_out, followed, weight, at FROM pattern_uses
WHERE account_id = %(account_id)s AND run_id = %(run_id)s ORDER BY rank NULLS LAST, id
"""
_ENDED = """
INSERT INTO pattern_outcomes AS o
    (run_id, account_id, task_id, agent, success, verifier, steps, tool_calls, tokens, cost)
VALUES (%(run_id)s, %(account_id)s, %(task_id)s, %(agent)s, %(success)s, %(verifier)s, %(steps)s, %(tool_calls)s,
    %(tokens)s, %(cost)s)
ON CONFLICT (run_id) DO UPDATE SET success = EXCLUDED.success, verifier = EXCLUDED.verifier
WHERE o.account_id = EXCLUDED.account_id
"""


@dataclass(frozen=True, slots=True)
class Offered:
    """A pattern a run was given, or would have been were it not held out."""

    pattern_id: UUID
    version: int
    similarity: float
    rank: int


class UseRow(NamedTuple):
    """An exposure as recorded; without a pattern the run was given none."""

    pattern_id: UUID | None
    version: int | None
    similarity: float | None
    rank: int | None
    held_out: bool
    followed: bool | None
    weight: float | None
    at: datetime


class Outcome(NamedTuple):
    """How a run ended; `cost` in USD, None where a price is unknown."""

    run_id: UUID
    task_id: UUID
    agent: str
    success: bool
    verifier: str | None
    steps: int
    tool_calls: int
    tokens: int
    cost: Decimal | None


def offer(
    connection: Connection,
    scope: AccountScope,
    run_id: UUID,
    task_id: UUID,
    uses: Sequence[Offered],
    *,
    agent: str = "",
    held_out: bool = False,
) -> None:
    """Record what a run was offered, or that it was offered nothing; a second time changes nothing."""
    rows = [
        {"id": str(new_id()), "pattern_id": str(each.pattern_id), "version": each.version}
        | {"similarity": each.similarity, "rank": each.rank}
        for each in uses
    ] or [{"id": str(new_id()), "pattern_id": None}]
    run = {"account_id": scope.account_id, "task_id": task_id, "run_id": run_id, "agent": agent, "held_out": held_out}
    connection.exec_driver_sql(_OFFER, {**run, "uses": payloads.dumps(rows)})


def followed(
    connection: Connection, scope: AccountScope, run_id: UUID, told: Mapping[UUID, tuple[bool, float]]
) -> None:
    """Record which offered patterns a run followed, and the weight (0 to 1) of each for credit."""
    rows = [{"pattern_id": str(each), "followed": did, "weight": weight} for each, (did, weight) in told.items()]
    asked = {"account_id": scope.account_id, "run_id": run_id, "followed": payloads.dumps(rows)}
    connection.exec_driver_sql(_FOLLOWED, asked)


def of_run(connection: Connection, scope: AccountScope, run_id: UUID) -> list[UseRow]:
    """Return what a run was offered, in the order it was."""
    asked = {"account_id": scope.account_id, "run_id": run_id}
    return [UseRow(*row) for row in connection.exec_driver_sql(_OF_RUN, asked)]


def ended(connection: Connection, scope: AccountScope, outcome: Outcome) -> None:
    """Record how a run ended; told again, e.g. after a person decided, its success is replaced."""
    connection.exec_driver_sql(_ENDED, {"account_id": scope.account_id, **outcome._asdict()})
