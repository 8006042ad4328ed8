"""Tasks that are equal to others: several requests of a person for the same place, and results there are already."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.errors import Conflict
from models.repositories import requests
from models.repositories.requests import Asked
from models.scope import AccountScope, SystemScope

#: Where an older task's metadata names the newer one that took its place.
SUPERSEDED_BY = "superseded_by"
_OPEN = "t.status IN ('queued', 'running', 'waiting')"
_RECENT = "k.created_at > now() - %(seconds)s * interval '1 second'"
_UNDER_WAY = f"""
SELECT t.id FROM task_keys k JOIN tasks t ON t.id = k.task_id JOIN runs r ON r.id = t.run_id
WHERE k.account_id = %(account_id)s AND k.place = %(place)s AND k.same = %(same)s AND {_RECENT} AND {_OPEN}
AND r.cancel_requested_at IS NULL ORDER BY k.task_id DESC LIMIT 1
"""
_OLDER = f"""
SELECT t.id FROM task_keys k JOIN tasks t ON t.id = k.task_id
WHERE k.account_id = %(account_id)s AND k.place = %(place)s AND k.task_id < %(task_id)s AND {_RECENT} AND {_OPEN}
ORDER BY k.task_id
"""
_TELL = """
UPDATE tasks SET metadata = metadata || jsonb_build_object(%(name)s::text, %(by)s::text)
WHERE id = %(id)s AND account_id = %(account_id)s
"""
# Not what was itself given again, nor what a person turned down, nor what a script made up.
_RESULT = """
SELECT t.id, t.account_id, t.result FROM task_keys mine
JOIN task_keys k ON k.account_id = mine.account_id AND k.same = mine.same AND k.task_id <> mine.task_id
JOIN tasks t ON t.id = k.task_id
WHERE mine.task_id = %(task_id)s
AND t.status = 'succeeded' AND t.finished_at > now() - %(seconds)s * interval '1 second'
AND t.usage -> 'synthetic' IS DISTINCT FROM 'true' AND t.decision ->> 'verdict' IS DISTINCT FROM 'rejected'
ORDER BY k.task_id DESC LIMIT 1
"""
_NO_SOURCE = "UPDATE task_keys SET same = NULL WHERE task_id = %(task_id)s"


class Known(NamedTuple):
    """A result there is already, and the task that came to it."""

    task_id: UUID
    result: Any


def under_way(connection: Connection, scope: AccountScope, same: str, place: str, within_s: float) -> UUID | None:
    """Return the open task that would come to the same result for the same place, if one began so lately."""
    asked = {"account_id": scope.account_id, "same": same, "place": place, "seconds": within_s}
    found: UUID | None = connection.exec_driver_sql(_UNDER_WAY, asked).scalar()
    return found


def supersede(connection: Connection, scope: AccountScope, task_id: UUID, place: str, within_s: float) -> list[Asked]:
    """Ask those tasks to stop whose place a newer one takes, if they began so lately; return whom to tell.

    Args:
        connection: an open transaction.
        scope: the account.
        task_id: the newer task.
        place: what they have in common.
        within_s: only tasks handed in for less than this many seconds.
    """
    about = {"account_id": scope.account_id, "task_id": task_id, "place": place, "seconds": within_s}
    asked = []
    for (older,) in connection.exec_driver_sql(_OLDER, about).fetchall():
        try:
            asked.append(requests.cancel(connection, scope, older))
        except Conflict:  # it has just ended
            continue
        told = {"id": older, "account_id": scope.account_id, "name": SUPERSEDED_BY, "by": str(task_id)}
        connection.exec_driver_sql(_TELL, told)
    return asked


def known_result(connection: Connection, scope: SystemScope, task_id: UUID, within_s: float) -> Known | None:
    """Return what another task of the account came to that is equal to this one, if it ended so lately.

    A task that is given a result this way gives it to no other, so that a result is not given for longer.
    """
    row = connection.exec_driver_sql(_RESULT, {"task_id": task_id, "seconds": within_s}).one_or_none()
    if row is None:
        return None
    known = Known(row[0], payloads.unpack(connection, row[1], row[2]))
    if _scripted(known.result):
        return None
    connection.exec_driver_sql(_NO_SOURCE, {"task_id": task_id})
    return known


def _scripted(result: Any) -> bool:
    """Whether a result says, itself or in a part, that a script wrote it in a model's place."""
    if not isinstance(result, dict):
        return True  # no result that could be labelled
    return any(each.get("synthetic") for each in (result, *result.values()) if isinstance(each, dict))
