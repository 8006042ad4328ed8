"""Patterns and what speaks for them. Learning the same again adds evidence to the pattern that is there.

Every change writes a line of history and an entry for the indexes, in the same transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.base import new_id
from models.errors import NotFound
from models.patterns import PatternKind, PatternState
from models.repositories import pattern_outbox as outbox
from models.scope import AccountScope, SystemScope

COLUMNS = (
    "p.id, p.account_id, p.kind, p.title, p.situation, p.steps, p.tools, p.agent, p.toolset_hash, p.embedder, p.state,"
    " p.reason, p.pinned, p.version, p.created_at, p.updated_at"
)
GET = f"SELECT {COLUMNS} FROM patterns p WHERE p.account_id = %(account_id)s AND p.id = ANY(%(ids)s::uuid[])"
_LIST = f"""
SELECT {COLUMNS} FROM patterns p WHERE p.account_id = %(account_id)s AND p.id < %(before)s
  AND (%(state)s::text IS NULL OR p.state = %(state)s) AND (%(kind)s::text IS NULL OR p.kind = %(kind)s)
  AND (%(agent)s::text IS NULL OR p.agent = %(agent)s)
ORDER BY p.id DESC LIMIT %(limit)s
"""
_AFTER = f"""
SELECT {COLUMNS} FROM patterns p WHERE p.id > %(after)s
  AND (%(account_id)s::uuid IS NULL OR p.account_id = %(account_id)s) ORDER BY p.id LIMIT %(limit)s
"""
_OF_IDS = f"SELECT {COLUMNS} FROM patterns p WHERE p.id = ANY(%(ids)s::uuid[])"
_COUNT = "SELECT count(*) FROM patterns WHERE %(account_id)s::uuid IS NULL OR account_id = %(account_id)s"
# A candidate for which a verifier speaks at last becomes active; every other state is left as it is.
_LEARN = """
WITH before AS (SELECT state FROM patterns WHERE account_id = %(account_id)s AND digest = %(digest)s)
INSERT INTO patterns AS p (id, account_id, kind, title, situation, steps, tools, agent, toolset_hash, digest, state)
VALUES (%(id)s, %(account_id)s, %(kind)s, %(title)s, %(situation)s, %(steps)s::jsonb, %(tools)s::jsonb, %(agent)s,
    %(toolset_hash)s, %(digest)s, CASE WHEN %(verifier)s::text IS NULL THEN 'candidate' ELSE 'active' END)
ON CONFLICT (account_id, digest) DO UPDATE SET updated_at = now(),
    state = CASE WHEN p.state = 'candidate' THEN EXCLUDED.state ELSE p.state END
RETURNING id, version, state, (SELECT state FROM before)
"""
_EVIDENCE = """
INSERT INTO pattern_evidence AS e (pattern_id, run_id, account_id, task_id, verifier)
VALUES (%(pattern_id)s, %(run_id)s, %(account_id)s, %(task_id)s, %(verifier)s)
ON CONFLICT (pattern_id, run_id) DO UPDATE SET verifier = coalesce(EXCLUDED.verifier, e.verifier)
"""
_SHOWN = """
SELECT count(*) FROM (
    SELECT FROM pattern_evidence WHERE account_id = %(account_id)s AND pattern_id = %(id)s LIMIT %(most)s) e
"""
_CHANGED = """
INSERT INTO pattern_changes (account_id, pattern_id, change, version, state, pinned, content, reason, user_id, key_id)
SELECT account_id, id, %(change)s, version, state, pinned,
    jsonb_build_object('title', title, 'situation', situation, 'steps', steps), %(reason)s, %(user_id)s, %(key_id)s
FROM patterns WHERE account_id = %(account_id)s AND id = ANY(%(ids)s::uuid[])
"""
_EVIDENCE_OF = """
SELECT e.run_id, e.task_id, e.verifier, e.at FROM pattern_evidence e
WHERE e.account_id = %(account_id)s AND e.pattern_id = %(id)s ORDER BY e.at DESC, e.run_id DESC LIMIT %(limit)s
"""
_HISTORY = """
SELECT id, change, version, state, pinned, content, reason, user_id, key_id, at FROM pattern_changes
WHERE account_id = %(account_id)s AND pattern_id = %(id)s ORDER BY id DESC LIMIT %(limit)s
"""
_EMBEDDED = "UPDATE patterns SET embedder = %(embedder)s WHERE id = ANY(%(ids)s::uuid[])"
_OUTDATED = """
SELECT old.id FROM patterns p JOIN patterns old ON old.account_id = p.account_id AND old.agent = p.agent
    AND old.kind = p.kind AND old.steps = p.steps AND old.id <> p.id
WHERE p.account_id = %(account_id)s AND p.id = %(id)s AND old.state = 'retired' AND old.reason = %(reason)s
"""
#: The first runs that show a pattern add to what its vector is made of; further ones are evidence only.
TOLD_MAX = 3
#: Why a pattern was retired whose tools are no longer what they were.
OUTDATED = "a tool it names has changed"
LAST_ID = UUID(int=2**128 - 1)
FIRST_ID = UUID(int=0)


class PatternRow(NamedTuple):
    """A pattern. `steps`: `[{"tool": name, "arguments": {name: role}}]`; `tools`: definitions' hashes by name."""

    id: UUID
    account_id: UUID
    kind: str
    title: str
    situation: str
    steps: list[dict[str, Any]]
    tools: dict[str, str]
    agent: str
    toolset_hash: str
    embedder: str | None
    state: str
    reason: str
    pinned: bool
    version: int
    created_at: datetime
    updated_at: datetime


class EvidenceRow(NamedTuple):
    """A run that showed a pattern."""

    run_id: UUID
    task_id: UUID
    verifier: str | None
    at: datetime


class ChangeRow(NamedTuple):
    """A line of a pattern's history; `content` is its title, situation and steps from then on."""

    id: int
    change: str
    version: int
    state: str
    pinned: bool
    content: dict[str, Any]
    reason: str
    user_id: UUID | None
    key_id: UUID | None
    at: datetime


class Learned(NamedTuple):
    """What became of a lesson.

    Attributes:
        before: the state the pattern was in; None for a new one.
        told: whether the indexes hear of it: it is new, in another state, or shown by one of its first runs.
    """

    id: UUID
    version: int
    state: str
    before: str | None
    told: bool = True

    @property
    def created(self) -> bool:
        """Whether nobody learned this before."""
        return self.before is None


@dataclass(frozen=True, slots=True)
class NewPattern:
    """A lesson of one run.

    Attributes:
        digest: the same for the same lesson, whatever words describe it.
        tools: hash of the definition of each tool it names.
    """

    kind: PatternKind
    title: str
    situation: str
    steps: Sequence[Mapping[str, Any]]
    tools: Mapping[str, str]
    agent: str
    toolset_hash: str
    digest: str


@dataclass(frozen=True, slots=True)
class Shown:
    """The run that showed a lesson, and who said that it went well; None: nobody but the model."""

    run_id: UUID
    task_id: UUID
    verifier: str | None


def learn(connection: Connection, scope: AccountScope, new: NewPattern, shown: Shown) -> Learned:
    """Record a lesson: a new pattern, or evidence for the one that says the same."""
    lesson = {
        "id": new_id(), "account_id": scope.account_id, "kind": new.kind, "title": new.title,
        "situation": new.situation, "steps": payloads.dumps(list(new.steps)), "tools": payloads.dumps(dict(new.tools)),
        "agent": new.agent, "toolset_hash": new.toolset_hash, "digest": new.digest, "verifier": shown.verifier,
    }  # fmt: skip
    learned = Learned(*connection.exec_driver_sql(_LEARN, lesson).one())
    evidence = {"pattern_id": learned.id, "account_id": scope.account_id, "run_id": shown.run_id}
    connection.exec_driver_sql(_EVIDENCE, {**evidence, "task_id": shown.task_id, "verifier": shown.verifier})
    if learned.state != learned.before:
        changed(connection, scope, [learned.id], "learned" if learned.created else "admitted", shown.verifier or "")
        return learned
    if _shown(connection, scope, learned.id) > TOLD_MAX:
        return learned._replace(told=False)
    outbox.tell(connection, scope, outbox.PATTERN, [str(learned.id)])
    return learned


def _shown(connection: Connection, scope: AccountScope, pattern_id: UUID) -> int:
    asked = {"account_id": scope.account_id, "id": pattern_id, "most": TOLD_MAX + 1}
    return int(connection.exec_driver_sql(_SHOWN, asked).scalar_one())


def changed(connection: Connection, scope: AccountScope, ids: Collection[UUID], change: str, reason: str = "") -> None:
    """Write a line of history for each pattern as it is now, and tell the indexes."""
    who = {"user_id": scope.user_id, "key_id": scope.key_id}
    line = {"account_id": scope.account_id, "ids": list(ids), "change": change, "reason": reason}
    connection.exec_driver_sql(_CHANGED, {**line, **who})
    outbox.tell(connection, scope, outbox.PATTERN, [str(each) for each in ids])


def outdated(connection: Connection, scope: AccountScope, pattern_id: UUID) -> list[UUID]:
    """Return the patterns that said the same of tools that have changed since."""
    asked = {"account_id": scope.account_id, "id": pattern_id, "reason": OUTDATED}
    return [row[0] for row in connection.exec_driver_sql(_OUTDATED, asked)]


def get(connection: Connection, scope: AccountScope, pattern_id: UUID) -> PatternRow:
    """Return a pattern.

    Raises:
        NotFound: the account has none with this id.
    """
    rows = get_all(connection, scope, [pattern_id])
    if not rows:
        raise NotFound
    return rows[0]


def get_all(connection: Connection, scope: AccountScope, ids: Sequence[UUID]) -> list[PatternRow]:
    """Return patterns in the order of their ids given; another account's and missing ones are left out."""
    asked = {"account_id": scope.account_id, "ids": list(ids)}
    found = {row.id: row for row in (PatternRow(*each) for each in connection.exec_driver_sql(GET, asked))}
    return [found[each] for each in ids if each in found]


def of_ids(connection: Connection, scope: SystemScope, ids: Sequence[UUID]) -> list[PatternRow]:
    """Return patterns of any account; missing ones are left out."""
    return [PatternRow(*row) for row in connection.exec_driver_sql(_OF_IDS, {"ids": list(ids)})]


def list_patterns(
    connection: Connection,
    scope: AccountScope,
    before: UUID | None,
    limit: int,
    *,
    state: PatternState | None = None,
    kind: PatternKind | None = None,
    agent: str | None = None,
) -> list[PatternRow]:
    """Return the account's patterns, the newest first; `before` continues a list."""
    only = {"state": state, "kind": kind, "agent": agent}
    asked = {"account_id": scope.account_id, "before": before or LAST_ID, "limit": limit, **only}
    return [PatternRow(*row) for row in connection.exec_driver_sql(_LIST, asked)]


def after(
    connection: Connection, scope: SystemScope, pattern_id: UUID, limit: int, account_id: UUID | None = None
) -> list[PatternRow]:
    """Return patterns in order of id from behind one on, of every account or of one; `FIRST_ID` begins."""
    asked = {"after": pattern_id, "limit": limit, "account_id": account_id}
    return [PatternRow(*row) for row in connection.exec_driver_sql(_AFTER, asked)]


def count(connection: Connection, scope: SystemScope, account_id: UUID | None = None) -> int:
    """Count patterns, of every account or of one."""
    return int(connection.exec_driver_sql(_COUNT, {"account_id": account_id}).scalar_one())


def evidence(connection: Connection, scope: AccountScope, pattern_id: UUID, limit: int) -> list[EvidenceRow]:
    """Return the runs that showed a pattern, the newest first."""
    asked = {"account_id": scope.account_id, "id": pattern_id, "limit": limit}
    return [EvidenceRow(*row) for row in connection.exec_driver_sql(_EVIDENCE_OF, asked)]


def history(connection: Connection, scope: AccountScope, pattern_id: UUID, limit: int) -> list[ChangeRow]:
    """Return what was done to a pattern and by whom, the newest first."""
    asked = {"account_id": scope.account_id, "id": pattern_id, "limit": limit}
    return [ChangeRow(*row) for row in connection.exec_driver_sql(_HISTORY, asked)]


def embedded(connection: Connection, scope: SystemScope, ids: Collection[UUID], embedder: str) -> None:
    """Note which embedder made the vectors that are kept of patterns."""
    connection.exec_driver_sql(_EMBEDDED, {"ids": list(ids), "embedder": embedder})
