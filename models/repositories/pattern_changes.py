"""What people and measurements do to a pattern: edit, pin, admit, quarantine, retire, roll back, expire.

A scope with a user or a key is a person's: it may do everything. Umbel's own measurements leave pinned patterns alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.errors import Conflict, NotFound
from models.patterns import EdgeKind, NodeKind, PatternState
from models.repositories import graph, patterns
from models.repositories.patterns import PatternRow
from models.scope import AccountScope

#: Where a pattern may go from a state. From `retired` only a person brings it back.
MOVES: dict[PatternState, frozenset[PatternState]] = {
    PatternState.CANDIDATE: frozenset({PatternState.ACTIVE, PatternState.RETIRED}),
    PatternState.ACTIVE: frozenset({PatternState.QUARANTINED, PatternState.RETIRED}),
    PatternState.QUARANTINED: frozenset({PatternState.ACTIVE, PatternState.RETIRED}),
    PatternState.RETIRED: frozenset({PatternState.ACTIVE}),
}

_LOCK = f"{patterns.GET} FOR UPDATE"
_SET = """
UPDATE patterns SET title = %(title)s, situation = %(situation)s, steps = %(steps)s::jsonb, version = version + 1,
    updated_at = now() WHERE account_id = %(account_id)s AND id = %(id)s
"""
_CONTENT = """
SELECT content FROM pattern_changes WHERE account_id = %(account_id)s AND pattern_id = %(id)s AND version = %(version)s
ORDER BY id LIMIT 1
"""
_MOVE = """
UPDATE patterns SET state = %(state)s, reason = %(reason)s, updated_at = now()
WHERE account_id = %(account_id)s AND id = %(id)s
"""
_PIN = "UPDATE patterns SET pinned = %(pinned)s, updated_at = now() WHERE account_id = %(account_id)s AND id = %(id)s"
# Of one agent only: another may have a tool of the same name that is another one.
_EXPIRE = """
UPDATE patterns SET state = 'retired', reason = %(reason)s, updated_at = now()
WHERE id IN (
    SELECT id FROM patterns p WHERE account_id = %(account_id)s AND agent = %(agent)s AND NOT pinned
      AND state <> 'retired' AND EXISTS (
        SELECT FROM jsonb_each_text(p.tools) AS learned JOIN jsonb_each_text(%(tools)s::jsonb) AS now_there USING (key)
        WHERE learned.value <> now_there.value AND p.steps @> jsonb_build_array(jsonb_build_object('tool', key)))
    ORDER BY id FOR UPDATE
) RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Content:
    """What a person may edit: the words, and the steps in the form of `PatternRow.steps`."""

    title: str
    situation: str
    steps: Sequence[Mapping[str, Any]]


def edit(
    connection: Connection, scope: AccountScope, pattern_id: UUID, content: Content, expected: int | None = None
) -> PatternRow:
    """Give a pattern a new version.

    Args:
        connection: an open transaction.
        scope: the account, and who in it.
        pattern_id: the pattern.
        content: all of it.
        expected: edit this version only; None: whatever there is.

    Raises:
        NotFound: the account has none with this id.
        Conflict: it is at another version.
    """
    row = _locked(connection, scope, pattern_id)
    if expected is not None and expected != row.version:
        raise Conflict(f"The pattern is at version {row.version}, not {expected}; read it again.")
    return _set(connection, scope, pattern_id, content, "edited")


def roll_back(connection: Connection, scope: AccountScope, pattern_id: UUID, version: int) -> PatternRow:
    """Give a pattern the content it had, as a new version.

    Raises:
        NotFound: the account has no such pattern, or it never had such a version.
    """
    _locked(connection, scope, pattern_id)
    asked = {"account_id": scope.account_id, "id": pattern_id, "version": version}
    was = connection.exec_driver_sql(_CONTENT, asked).one_or_none()
    if was is None:
        raise NotFound(f"The pattern has no version {version}.")
    return _set(connection, scope, pattern_id, Content(**was[0]), "rolled back", f"to version {version}")


def pin(connection: Connection, scope: AccountScope, pattern_id: UUID, pinned: bool) -> PatternRow:
    """Let measurements leave a pattern alone, or no longer.

    Raises:
        NotFound: the account has none with this id.
    """
    row = _locked(connection, scope, pattern_id)
    if row.pinned == pinned:
        return row
    connection.exec_driver_sql(_PIN, {"account_id": scope.account_id, "id": pattern_id, "pinned": pinned})
    return _changed(connection, scope, pattern_id, "pinned" if pinned else "unpinned")


def move(
    connection: Connection, scope: AccountScope, pattern_id: UUID, state: PatternState, reason: str = ""
) -> PatternRow:
    """Admit, quarantine or retire a pattern; nothing happens if it is there already.

    Args:
        connection: an open transaction.
        scope: the account; with a user or key if a person asks.
        pattern_id: the pattern.
        state: where to.
        reason: why, in words for people; never of a run's content.

    Raises:
        NotFound: the account has none with this id.
        Conflict: it may not go there from where it is, or it is pinned and no person asks.
    """
    row = _locked(connection, scope, pattern_id)
    if row.state == state:
        return row
    if state not in MOVES[PatternState(row.state)]:
        raise Conflict(f"A pattern that is {row.state} can't become {state}.")
    if not _by_person(scope) and (row.pinned or row.state == PatternState.RETIRED):
        raise Conflict("A pinned or retired pattern is changed by people only.")
    asked = {"account_id": scope.account_id, "id": pattern_id, "state": state, "reason": reason}
    connection.exec_driver_sql(_MOVE, asked)
    return _changed(connection, scope, pattern_id, state, reason)


def expire(connection: Connection, scope: AccountScope, agent: str, tools: Mapping[str, str]) -> list[UUID]:
    """Retire an agent's patterns that name a tool whose definition is another one now; return them.

    Args:
        connection: an open transaction.
        scope: the account.
        agent: whose patterns.
        tools: hashes of definitions by name, as they are now; a tool that is not among them expires nothing.
    """
    asked = {
        "account_id": scope.account_id,
        "agent": agent,
        "tools": payloads.dumps(dict(tools)),
        "reason": patterns.OUTDATED,
    }
    gone = [row[0] for row in connection.exec_driver_sql(_EXPIRE, asked)]
    if gone:
        patterns.changed(connection, scope, gone, "expired", patterns.OUTDATED)
    return gone


def _by_person(scope: AccountScope) -> bool:
    """Whether a person (or a person's program) asks."""
    return scope.user_id is not None or scope.key_id is not None


def _locked(connection: Connection, scope: AccountScope, pattern_id: UUID) -> PatternRow:
    asked = {"account_id": scope.account_id, "ids": [pattern_id]}
    row = connection.exec_driver_sql(_LOCK, asked).one_or_none()
    if row is None:
        raise NotFound
    return PatternRow(*row)


def _set(
    connection: Connection, scope: AccountScope, pattern_id: UUID, content: Content, change: str, reason: str = ""
) -> PatternRow:
    given = {"title": content.title, "situation": content.situation, "steps": payloads.dumps(list(content.steps))}
    connection.exec_driver_sql(_SET, {"account_id": scope.account_id, "id": pattern_id, **given})
    _relate(connection, scope, pattern_id, [str(step["tool"]) for step in content.steps if "tool" in step])
    return _changed(connection, scope, pattern_id, change, reason)


def _relate(connection: Connection, scope: AccountScope, pattern_id: UUID, tools: Sequence[str]) -> None:
    """Have the graph say which tools a pattern uses now."""
    this = graph.Node(NodeKind.PATTERN, str(pattern_id))
    graph.cut(connection, scope, this, EdgeKind.USES, tools)
    graph.write(connection, scope, [graph.Edge(this, EdgeKind.USES, graph.Node(NodeKind.TOOL, each)) for each in tools])


def _changed(
    connection: Connection, scope: AccountScope, pattern_id: UUID, change: str, reason: str = ""
) -> PatternRow:
    patterns.changed(connection, scope, [pattern_id], change, reason)
    return patterns.get(connection, scope, pattern_id)
