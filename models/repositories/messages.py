"""Messages to a task under way. The front only adds rows and counts them on the run; the holder of the run takes them.

That a message was taken is told by the step that gave it to the model, so a message is used once, whatever is lost.
"""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models.errors import Conflict, KeyReused, NotFound, NotSteerable
from models.repositories.requests import Asked, lock_run
from models.scope import AccountScope, SystemScope
from models.tasks import TERMINAL

#: Kind of the steps that take messages.
STEERING = "steering"

_ADD = """
INSERT INTO task_messages (task_id, number, account_id, user_id, text, idempotency_key)
SELECT %(task_id)s, coalesce(max(number), 0) + 1, %(account_id)s, %(user_id)s, %(text)s, %(key)s
FROM task_messages WHERE task_id = %(task_id)s
ON CONFLICT (task_id, idempotency_key) DO NOTHING
RETURNING number, text, created_at, user_id
"""
_BY_KEY = """
SELECT number, text, created_at, user_id FROM task_messages
WHERE task_id = %(task_id)s AND account_id = %(account_id)s AND idempotency_key = %(key)s
"""
_COUNT = "UPDATE runs SET messages = %(number)s WHERE id = %(run_id)s"
_LIST = """
SELECT m.number, m.text, m.created_at, m.user_id, s.key, s.finished_at
FROM task_messages m JOIN tasks t ON t.id = m.task_id
LEFT JOIN steps s ON s.run_id = t.run_id AND s.kind = 'steering' AND s.status = 'completed'
    AND m.number BETWEEN (s.result->>'first')::int AND (s.result->>'last')::int
WHERE m.task_id = %(task_id)s AND m.account_id = %(account_id)s AND m.number > %(after)s
ORDER BY m.number LIMIT %(limit)s
"""
_KNOWN = "SELECT 1 FROM tasks WHERE id = %(task_id)s AND account_id = %(account_id)s"
_AFTER = "SELECT number, text FROM task_messages WHERE task_id = %(task_id)s AND number > %(after)s ORDER BY number"


class Message(NamedTuple):
    """A message; `step` is the one that took it, and `taken_at` when, both None before that."""

    number: int
    text: str
    created_at: datetime
    user_id: UUID | None
    step: str | None = None
    taken_at: datetime | None = None


class Given(NamedTuple):
    """A message as a run reads it."""

    number: int
    text: str


def add(
    connection: Connection,
    scope: AccountScope,
    task_id: UUID,
    text: str,
    taking: Collection[str],
    idempotency_key: str | None = None,
) -> tuple[Message, Asked]:
    """Accept a message to an open task; the same key and text again give the same message.

    Args:
        connection: an open transaction.
        scope: who says it.
        task_id: to which task.
        text: what.
        taking: names of the workflows that take messages.
        idempotency_key: makes it repeatable.

    Raises:
        NotFound: the account has no such task.
        Conflict: it has ended.
        NotSteerable: its workflow takes none.
        KeyReused: the key came with another text before.
    """
    run = lock_run(connection, scope, task_id)
    given = {"task_id": task_id, "account_id": scope.account_id, "user_id": scope.user_id, "text": text}
    given["key"] = idempotency_key
    if idempotency_key is not None and (known := connection.exec_driver_sql(_BY_KEY, given).one_or_none()):
        return _same(Message(*known), text), run.asked
    if run.workflow not in taking:
        message = f"A task of {run.workflow} takes no messages while it runs; cancel it and submit another."
        raise NotSteerable(message, state=run.status)
    if run.status in TERMINAL:
        message = f"The task is {run.status} and takes no messages any more; submit another."
        raise Conflict(message, state=run.status)
    added = Message(*connection.exec_driver_sql(_ADD, given).one())
    connection.exec_driver_sql(_COUNT, {"run_id": run.id, "number": added.number})
    return added, run.asked


def _same(known: Message, text: str) -> Message:
    if known.text != text:
        raise KeyReused
    return known


def list_messages(connection: Connection, scope: AccountScope, task_id: UUID, after: int, limit: int) -> list[Message]:
    """Return a task's messages after a number, in order.

    Raises:
        NotFound: the account has no such task.
    """
    asked = {"task_id": task_id, "account_id": scope.account_id, "after": after, "limit": limit}
    if connection.exec_driver_sql(_KNOWN, asked).one_or_none() is None:
        raise NotFound
    return [Message(*row) for row in connection.exec_driver_sql(_LIST, asked)]


def after(connection: Connection, scope: SystemScope, task_id: UUID, number: int) -> list[Given]:
    """Return what was said to a task after a number, for whoever holds its run."""
    return [Given(*row) for row in connection.exec_driver_sql(_AFTER, {"task_id": task_id, "after": number})]
