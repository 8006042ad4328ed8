"""Patterns: what finished runs taught, how far it proved itself, and the graph of facts around it.

This is the record. Stores of vectors and graphs are indexes over it, told of changes by `pattern_outbox`, and can be
made anew from these rows at any time.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Computed, ForeignKey, ForeignKeyConstraint, Identity, Index, Numeric, Text, text
from sqlalchemy.dialects.postgresql import JSONB, REAL, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, set_now


class PatternKind(StrEnum):
    """What a pattern tells."""

    WORKFLOW = "workflow"  #: calls of tools that led to a verified result
    STRATEGY = "strategy"  #: how work was divided: a plan, sub-agents
    PITFALL = "pitfall"  #: a call that fails, and how
    FIX = "fix"  #: a call that failed, and the changed one that did not


class PatternState(StrEnum):
    """Whether a pattern is offered to agents."""

    CANDIDATE = "candidate"  #: nothing but the model itself says that it worked; not offered
    ACTIVE = "active"  #: a verifier or a person admitted it
    QUARANTINED = "quarantined"  #: runs it was offered to went worse than those without
    RETIRED = "retired"  #: by a person, or because the tools it names have changed


class Verifier(StrEnum):
    """Who said that a run went well, the most trusted first."""

    PERSON = "person"  #: accepted its result, or approved what it did
    TESTS = "tests"
    LINTER = "linter"
    EXIT_CODE = "exit_code"  #: a command the workflow itself chose ended with 0
    SCHEMA = "schema"  #: the result has the shape the task asked for


class NodeKind(StrEnum):
    """What a node of the graph stands for; its key is an id or a name."""

    USER = "User"
    SESSION = "Session"
    TASK = "Task"
    RUN = "Run"
    TOOL = "Tool"
    CONCEPT = "Concept"
    ARTIFACT = "Artifact"
    PATTERN = "Pattern"
    ERROR_CLASS = "ErrorClass"


class EdgeKind(StrEnum):
    """How two nodes are related, read from left to right."""

    CREATED = "CREATED"
    HAS_SESSION = "HAS_SESSION"
    USES = "USES"
    INTERESTED_IN = "INTERESTED_IN"
    CONTAINS = "CONTAINS"
    GENERATED_BY = "GENERATED_BY"
    RELATES_TO = "RELATES_TO"
    BELONGS_TO = "BELONGS_TO"
    SUPPORTS = "SUPPORTS"
    DEPENDS_ON = "DEPENDS_ON"
    RELATED_TO = "RELATED_TO"
    PART_OF = "PART_OF"
    IMPLEMENTS = "IMPLEMENTS"
    USED_TOOL = "USED_TOOL"
    SOLVES = "SOLVES"
    FAILED_ON = "FAILED_ON"
    SUPERSEDES = "SUPERSEDES"
    DERIVED_FROM = "DERIVED_FROM"


class Consumer(StrEnum):
    """The indexes that are fed from the record."""

    VECTORS = "vectors"
    GRAPH = "graph"
    PASSAGES = "passages"  #: vectors of parts of messages and artifacts


class Pattern(Base):
    """What worked (or did not) in an account's runs: names of tools and roles of arguments, never their values.

    `steps` is `[{"tool": name, "arguments": {name: role}}]`, `tools` the hash of each named tool's definition as it was
    learned with, `toolset_hash` the hash of all of them. `digest` is of what was learned first, so that the same lesson
    is known again after a person has edited it. `words` is what is searched.
    """

    __tablename__ = "patterns"
    __table_args__ = (
        Index("uq_patterns_digest", "account_id", "digest", unique=True),
        Index("uq_patterns_account_id_id", "account_id", "id", unique=True),
        Index("ix_patterns_state", "account_id", "state", text("id DESC")),
        Index("ix_patterns_words", "words", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    situation: Mapped[str] = mapped_column(Text)
    steps: Mapped[list[JsonObject]] = mapped_column(JSONB, server_default="[]")
    tools: Mapped[JsonObject] = mapped_column(JSONB, server_default="{}")
    agent: Mapped[str] = mapped_column(Text, server_default="")
    toolset_hash: Mapped[str] = mapped_column(Text, server_default="")
    embedder: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, server_default="")
    pinned: Mapped[bool] = mapped_column(server_default="false")
    version: Mapped[int] = mapped_column(server_default="1")
    words: Mapped[str | None] = mapped_column(
        TSVECTOR, Computed("to_tsvector('simple'::regconfig, (title || ' '::text) || situation)", persisted=True)
    )
    created_at: Mapped[datetime] = set_now()
    updated_at: Mapped[datetime] = set_now()


class PatternChange(Base):
    """One line of a pattern's history, with its content as of then; without a user and a key Umbel made it itself."""

    __tablename__ = "pattern_changes"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "pattern_id"], ["patterns.account_id", "patterns.id"], ondelete="CASCADE"),
        Index("ix_pattern_changes_pattern", "account_id", "pattern_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[UUID]
    pattern_id: Mapped[UUID]
    change: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    state: Mapped[str] = mapped_column(Text)
    pinned: Mapped[bool]
    content: Mapped[JsonObject]
    reason: Mapped[str] = mapped_column(Text, server_default="")
    user_id: Mapped[UUID | None]
    key_id: Mapped[UUID | None]
    at: Mapped[datetime] = set_now()


class PatternEvidence(Base):
    """A run that showed a pattern; without a verifier only the model's own word says that it went well."""

    __tablename__ = "pattern_evidence"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "pattern_id"], ["patterns.account_id", "patterns.id"], ondelete="CASCADE"),
        Index("ix_pattern_evidence_run_id", "run_id"),
        Index("ix_pattern_evidence_pattern", "account_id", "pattern_id"),
    )

    pattern_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    task_id: Mapped[UUID]
    verifier: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = set_now()


class PatternLesson(Base):
    """That a run was learned from, by which version of the extractor, and what came of it. Nothing is learned twice.

    `opinion` is what a person said of the result, as far as it has been counted.
    """

    __tablename__ = "pattern_lessons"
    __table_args__ = (Index("ix_pattern_lessons_account", "account_id", text("at DESC")),)

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    extractor: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    task_id: Mapped[UUID]
    outcome: Mapped[str] = mapped_column(Text)
    opinion: Mapped[str | None] = mapped_column(Text)
    learned: Mapped[int] = mapped_column(server_default="0")
    at: Mapped[datetime] = set_now()


class PatternUse(Base):
    """A pattern offered to a run; without a pattern a run that was given none, held out or for lack of any."""

    __tablename__ = "pattern_uses"
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "pattern_id"],
            ["patterns.account_id", "patterns.id"],
            name="fk_pattern_uses_pattern",
            ondelete="CASCADE",
        ),
        Index("uq_pattern_uses_run", "run_id", "pattern_id", unique=True, postgresql_nulls_not_distinct=True),
        Index("ix_pattern_uses_pattern", "account_id", "pattern_id", "at"),
        Index("ix_pattern_uses_held_out", "account_id", "at", postgresql_where=text("held_out")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    task_id: Mapped[UUID]
    run_id: Mapped[UUID]
    pattern_id: Mapped[UUID | None]
    version: Mapped[int | None]
    agent: Mapped[str] = mapped_column(Text, server_default="")
    similarity: Mapped[float | None] = mapped_column(REAL)
    rank: Mapped[int | None]
    held_out: Mapped[bool] = mapped_column(server_default="false")
    followed: Mapped[bool | None]
    weight: Mapped[float | None] = mapped_column(REAL)
    at: Mapped[datetime] = set_now()


class PatternOutcome(Base):
    """How a run ended that patterns are measured by; cost in USD, None where a price is unknown."""

    __tablename__ = "pattern_outcomes"
    __table_args__ = (Index("ix_pattern_outcomes_account", "account_id", "at"),)

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    task_id: Mapped[UUID]
    agent: Mapped[str] = mapped_column(Text, server_default="")
    success: Mapped[bool]
    verifier: Mapped[str | None] = mapped_column(Text)
    steps: Mapped[int]
    tool_calls: Mapped[int] = mapped_column(server_default="0")
    tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cost: Mapped[Decimal | None] = mapped_column(Numeric)
    at: Mapped[datetime] = set_now()


class GraphNode(Base):
    """A node of an account's graph."""

    __tablename__ = "graph_nodes"
    __table_args__ = (
        Index("uq_graph_nodes_key", "account_id", "kind", "key", unique=True),
        Index("uq_graph_nodes_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    properties: Mapped[JsonObject] = mapped_column(JSONB, server_default="{}")
    created_at: Mapped[datetime] = set_now()


class GraphEdge(Base):
    """An edge between two nodes of one account: the foreign keys let none lead to another account's."""

    __tablename__ = "graph_edges"
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "from_id"],
            ["graph_nodes.account_id", "graph_nodes.id"],
            name="fk_graph_edges_from",
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["account_id", "to_id"],
            ["graph_nodes.account_id", "graph_nodes.id"],
            name="fk_graph_edges_to",
            ondelete="CASCADE",
        ),
        Index("ix_graph_edges_to", "account_id", "to_id", "kind", "from_id"),
    )

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    from_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    to_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    properties: Mapped[JsonObject] = mapped_column(JSONB, server_default="{}")
    created_at: Mapped[datetime] = set_now()


class PatternOutbox(Base):
    """A row of the record that an index has to be told of; a later change of the same row takes the place of this one.

    `subject` is `pattern`, `node`, `edge`, `session`, `artifact` or `passage`. `key` is its id, or an edge's
    `from_id:KIND:to_id`; `op` is `put` or `delete`, which takes a node's edges with it.
    """

    __tablename__ = "pattern_outbox"
    __table_args__ = (
        Index("uq_pattern_outbox_key", "consumer", "account_id", "subject", "key", unique=True),
        Index("ix_pattern_outbox_order", "consumer", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[UUID]
    consumer: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    op: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(server_default="0")
    claimed_until: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = set_now()
