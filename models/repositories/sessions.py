"""Conversations with agents. A task's turn is added in the transaction that ends the task: once, or not at all.

Messages are numbered 1..n without gaps; deleting a conversation deletes them, and what was too large for their rows.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.base import new_id
from models.errors import NotFound
from models.passages import PassageKind
from models.repositories import passages
from models.repositories import pattern_outbox as outbox
from models.scope import AccountScope, SystemScope

_COLUMNS = "id, title, agent, length, created_at, updated_at"
_CREATE = f"""
INSERT INTO agent_sessions (id, account_id, title, agent) VALUES (%(id)s, %(account_id)s, %(title)s, %(agent)s)
RETURNING {_COLUMNS}
"""
_GET = f"SELECT {_COLUMNS} FROM agent_sessions WHERE id = %(id)s AND account_id = %(account_id)s"
_LIST = f"""
SELECT {_COLUMNS} FROM agent_sessions WHERE account_id = %(account_id)s AND id < %(before)s
ORDER BY id DESC LIMIT %(limit)s
"""
_DELETE = """
WITH gone AS (
    DELETE FROM agent_sessions WHERE id = %(id)s AND account_id = %(account_id)s RETURNING id, account_id
), stored AS (
    DELETE FROM artifacts a USING gone, agent_session_messages m
    WHERE m.session_id = gone.id AND a.account_id = gone.account_id AND a.id = (m.message->>'$artifact')::uuid
)
SELECT id FROM gone
"""
_MESSAGES = """
SELECT number, task_id, message, created_at FROM agent_session_messages
WHERE session_id = %(id)s AND account_id = %(account_id)s AND number > %(after)s AND number <= %(upto)s
ORDER BY number LIMIT %(limit)s
"""
_PLACE = """
SELECT length, summary, summary_upto FROM agent_sessions WHERE id = %(id)s AND account_id = %(account_id)s
"""
# A summary made of an older state than there is now would leave something out.
_APPEND = """
WITH session AS (
    UPDATE agent_sessions SET length = length + %(count)s, updated_at = now(),
        summary = CASE WHEN %(summary)s::text IS NULL OR length <> %(upto)s THEN summary ELSE %(summary)s END,
        summary_upto = CASE WHEN %(summary)s::text IS NULL OR length <> %(upto)s THEN summary_upto
            ELSE %(summary_upto)s END
    WHERE id = %(id)s AND account_id = %(account_id)s
    RETURNING id, account_id, length - %(count)s AS before
)
INSERT INTO agent_session_messages (session_id, number, account_id, task_id, message)
SELECT session.id, session.before + m.n, session.account_id, %(task_id)s, m.message
FROM session, jsonb_to_recordset(%(messages)s::jsonb) AS m(n int, message jsonb)
"""
ALL = 2**31 - 1
LAST_ID = UUID(int=2**128 - 1)


class SessionRow(NamedTuple):
    """A conversation; `length` counts its messages."""

    id: UUID
    title: str
    agent: str | None
    length: int
    created_at: datetime
    updated_at: datetime


class MessageRow(NamedTuple):
    """A message of a conversation, in the form the agent's loop keeps it."""

    number: int
    task_id: UUID
    message: Any
    created_at: datetime


class Place(NamedTuple):
    """Where a conversation stands: the number of its newest message, and a summary of those up to `summary_upto`."""

    upto: int
    summary: str | None
    summary_upto: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What a task adds to its conversation.

    Attributes:
        session_id: the conversation.
        upto: number of the newest message the task began with.
        messages: what it adds, in order.
        summary: of everything up to message `summary_upto`, if one was made.
    """

    session_id: UUID
    upto: int
    messages: list[dict[str, Any]]
    summary: str | None = None
    summary_upto: int = 0


def create(connection: Connection, scope: AccountScope, title: str, agent: str | None) -> SessionRow:
    """Begin a conversation."""
    row = {"id": new_id(), "account_id": scope.account_id, "title": title, "agent": agent}
    return SessionRow(*connection.exec_driver_sql(_CREATE, row).one())


def get(connection: Connection, scope: AccountScope, session_id: UUID) -> SessionRow:
    """Return a conversation.

    Raises:
        NotFound: the account has none with this id.
    """
    row = connection.exec_driver_sql(_GET, {"id": session_id, "account_id": scope.account_id}).one_or_none()
    if row is None:
        raise NotFound
    return SessionRow(*row)


def list_sessions(connection: Connection, scope: AccountScope, before: UUID | None, limit: int) -> list[SessionRow]:
    """Return the account's conversations, the newest first; `before` continues a list."""
    asked = {"account_id": scope.account_id, "before": before or LAST_ID, "limit": limit}
    return [SessionRow(*row) for row in connection.exec_driver_sql(_LIST, asked)]


def delete(connection: Connection, scope: AccountScope, session_id: UUID) -> None:
    """Forget a conversation and all its messages; tasks that were part of it stay.

    Raises:
        NotFound: the account has none with this id.
    """
    asked = {"id": session_id, "account_id": scope.account_id}
    if connection.exec_driver_sql(_DELETE, asked).one_or_none() is None:
        raise NotFound
    passages.forget(connection, scope, PassageKind.MESSAGE, session_id)


def messages(connection: Connection, scope: AccountScope, session_id: UUID, after: int, limit: int) -> list[MessageRow]:
    """Return a conversation's messages after a number, in order.

    Raises:
        NotFound: the account has no such conversation.
    """
    get(connection, scope, session_id)
    return _messages(connection, scope.account_id, session_id, after, ALL, limit)


def place(connection: Connection, scope: SystemScope, account_id: UUID, session_id: UUID) -> Place | None:
    """Return where a conversation stands; None if it is gone."""
    row = connection.exec_driver_sql(_PLACE, {"id": session_id, "account_id": account_id}).one_or_none()
    return None if row is None else Place(*row)


def between(
    connection: Connection, scope: SystemScope, account_id: UUID, session_id: UUID, after: int, upto: int
) -> list[MessageRow]:
    """Return a conversation's messages above a number and up to another."""
    return _messages(connection, account_id, session_id, after, upto, ALL)


def append(connection: Connection, scope: SystemScope, account_id: UUID, task_id: UUID, turn: Turn) -> None:
    """Add a task's turn; nothing happens if the conversation is gone."""
    packed = [
        f'{{"n":{n},"message":{payloads.pack(connection, account_id, task_id, None, "session", message)}}}'
        for n, message in enumerate(turn.messages, start=1)
    ]
    given = {"id": turn.session_id, "account_id": account_id, "task_id": task_id, "count": len(packed)}
    summary = {"summary": turn.summary, "summary_upto": turn.summary_upto, "upto": turn.upto}
    connection.exec_driver_sql(_APPEND, {**given, **summary, "messages": f"[{','.join(packed)}]"})
    outbox.tell(connection, AccountScope(account_id), outbox.SESSION, [str(turn.session_id)])


def _messages(
    connection: Connection, account_id: UUID, session_id: UUID, after: int, upto: int, limit: int
) -> list[MessageRow]:
    asked = {"id": session_id, "account_id": account_id, "after": after, "upto": upto, "limit": limit}
    rows = [MessageRow(*row) for row in connection.exec_driver_sql(_MESSAGES, asked)]
    return [row._replace(message=payloads.unpack(connection, account_id, row.message)) for row in rows]
