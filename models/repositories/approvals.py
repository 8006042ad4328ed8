"""What people are asked: to approve a step, to answer a question, or to say what became of a step in doubt.

A question is a started step of an open run, so it is asked, answered and forgotten with its run. An answer only sets
columns; the engine reads it at the next claim and writes the event. The run's row is locked while a question is
answered, so an answer and a run that is just being parked can't miss each other.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.errors import Conflict, NotFound
from models.repositories.requests import Asked
from models.scope import AccountScope
from models.tasks import TERMINAL, Status, StepStatus

Answer = Literal["approve", "edit", "reject", "answer", "repeat", "skip", "fail"]
#: Kinds of the steps that ask: for an approval, and for an answer.
APPROVAL: Final = "approval"
INPUT: Final = "input"
IN_DOUBT = "in_doubt"
#: A question stays open for a day unless it says otherwise, and for 30 days at most.
EXPIRES_S = 86_400.0
EXPIRES_MAX_S = 30 * 86_400.0
ANSWERS: dict[str, tuple[Answer, ...]] = {
    APPROVAL: ("approve", "edit", "reject"),
    INPUT: ("answer", "reject"),
    IN_DOUBT: ("repeat", "skip", "fail"),
}
#: Verdicts that need the hash of what was shown, and those that bring arguments of their own.
SEEN = frozenset({"approve", "edit", "answer"})
OWN_ARGS = frozenset({"edit", "answer"})

_LIST = """
SELECT s.run_id, s.key, s.kind, s.task_id, r.workflow, s.request, s.started_at
FROM runs r JOIN steps s ON s.run_id = r.id
WHERE r.account_id = %(account_id)s AND r.status IN ('running', 'waiting') AND s.status = 'started'
  AND (s.kind IN ('approval', 'input') OR (s.effect = 'unsafe' AND r.status = 'waiting')) AND s.decision IS NULL
  AND (%(task_id)s::uuid IS NULL OR r.task_id = %(task_id)s)
ORDER BY s.started_at, s.run_id, s.key LIMIT %(limit)s
"""
_LOCK = """
SELECT id, task_id, workflow, priority, status, lease_until > now() AS leased FROM runs
WHERE id = %(run_id)s AND account_id = %(account_id)s FOR UPDATE
"""
_STEP = """
SELECT kind, effect, status, account_id, decision, result, request FROM steps
WHERE run_id = %(run_id)s AND key = %(key)s AND (kind IN ('approval', 'input') OR effect = 'unsafe')
"""
_ANSWER = """
UPDATE steps SET decision = %(decision)s::jsonb || jsonb_build_object('at', now())
WHERE run_id = %(run_id)s AND key = %(key)s
"""
# On a run that is held the time is only a note: when it is parked for a question, it is due at once.
_RESUME = """
UPDATE runs SET resume_at = CASE WHEN status = 'running' OR waiting_reason IN ('approval', 'input', 'in_doubt')
    THEN now() ELSE resume_at END
WHERE id = %(run_id)s
"""


class Place(NamedTuple):
    """Where a question was asked; as text `<run id>.<step key>`, which is the question's id."""

    run_id: UUID
    key: str

    def __str__(self) -> str:
        return f"{self.run_id}.{self.key}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return the place a question's id names.

        Raises:
            NotFound: it is not the id of a question.
        """
        run, _, key = text.partition(".")
        try:
            return cls(UUID(run), key)
        except ValueError:
            raise NotFound from None


@dataclass(frozen=True, slots=True)
class Question:
    """An open question.

    Attributes:
        kind: `approval`, `input` or `in_doubt`.
        request: what is asked (see `worker.approvals`); None for a doubt.
    """

    place: Place
    kind: str
    task_id: UUID
    workflow: str
    request: dict[str, Any] | None
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Reply:
    """A person's answer.

    Attributes:
        args_hash: hash of the arguments the person saw; needed to approve, edit or answer.
        args: the arguments to use instead, for `edit`; what is answered, for `answer`.
    """

    verdict: Answer
    args_hash: str | None = None
    args: dict[str, Any] | None = None
    comment: str | None = None


class _Row(NamedTuple):
    run_id: UUID
    key: str
    kind: str
    task_id: UUID
    workflow: str
    request: Any
    asked_at: datetime


def open_questions(connection: Connection, scope: AccountScope, task_id: UUID | None, limit: int) -> list[Question]:
    """Return the account's open questions, the longest waiting first."""
    asked = {"account_id": scope.account_id, "task_id": task_id, "limit": limit}
    rows = [_Row(*row) for row in connection.exec_driver_sql(_LIST, asked)]
    return [_question(connection, scope, row) for row in rows]


def get(connection: Connection, scope: AccountScope, place: Place) -> dict[str, Any] | None:
    """Return a question's request, whether or not it is still open.

    Raises:
        NotFound: the account was never asked this.
    """
    _, step = _find(connection, scope, place)
    request: dict[str, Any] | None = payloads.unpack(connection, step.account_id, step.request)
    return request


def answer(connection: Connection, scope: AccountScope, place: Place, reply: Reply) -> tuple[UUID, Asked]:
    """Record an answer and let the run go on; the same verdict again changes nothing.

    Returns:
        The task's id, and whom to tell after the commit.

    Raises:
        NotFound: the account was never asked this.
        Conflict: it has been answered or has run out, the run has ended, the verdict is none of the question's, or
            the arguments are not those that were shown.
    """
    run, step = _find(connection, scope, place)
    asked = Asked(run.id, run.workflow, run.priority, run.status == Status.RUNNING and bool(run.leased))
    if _said(step) == reply.verdict:
        return run.task_id, asked
    _check(run, step, reply, payloads.unpack(connection, step.account_id, step.request) or {})
    decision: dict[str, Any] = {
        "verdict": reply.verdict,
        "by": str(scope.user_id or scope.account_id),
        "comment": reply.comment,
    }
    if reply.verdict in OWN_ARGS:
        decision["args"] = reply.args
    recorded = {"run_id": place.run_id, "key": place.key, "decision": payloads.dumps(decision)}
    connection.exec_driver_sql(_ANSWER, recorded)
    connection.exec_driver_sql(_RESUME, {"run_id": place.run_id})
    return run.task_id, asked


def _find(connection: Connection, scope: AccountScope, place: Place) -> tuple[Any, Any]:
    asked = {"run_id": place.run_id, "account_id": scope.account_id, "key": place.key}
    run = connection.exec_driver_sql(_LOCK, asked).one_or_none()
    step = connection.exec_driver_sql(_STEP, asked).one_or_none() if run else None
    if run is None or step is None:
        raise NotFound
    return run, step


def _check(run: Any, step: Any, reply: Reply, request: dict[str, Any]) -> None:
    allowed = ANSWERS[_kind(step.kind)]
    if said := _said(step):
        raise Conflict(f"This was answered already: {said}.", state=run.status)
    if run.status in TERMINAL:
        raise Conflict(f"The task's run is {run.status}; nothing is asked any more.", state=run.status)
    if step.status != StepStatus.STARTED or (_kind(step.kind) == IN_DOUBT and run.status != Status.WAITING):
        raise Conflict("Nothing is asked about this step now.", state=run.status)
    if reply.verdict not in allowed:
        raise Conflict(f"This question takes {', '.join(allowed)}.", state=run.status, allowed=list(allowed))
    if reply.verdict in SEEN and reply.args_hash != request.get("args_hash"):
        raise Conflict("The arguments are not those asked about; read the question again.", state=run.status)


def _said(step: Any) -> str | None:
    """Return the verdict given, whether or not the engine has seen it yet."""
    given = step.decision or (step.result if _kind(step.kind) != IN_DOUBT else None) or {}
    verdict: str | None = given.get("verdict")
    return verdict


def _kind(kind: str) -> str:
    return kind if kind in (APPROVAL, INPUT) else IN_DOUBT


def _question(connection: Connection, scope: AccountScope, row: _Row) -> Question:
    request = payloads.unpack(connection, scope.account_id, row.request)
    return Question(Place(row.run_id, row.key), _kind(row.kind), row.task_id, row.workflow, request, row.asked_at)
