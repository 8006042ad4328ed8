"""Bytes, who needs them, and the rows that refer to them: files, artifacts, snapshots of projects.

    blobs ← account_blobs ← files | artifact_versions | snapshot_files

Each arrow is a foreign key: PostgreSQL itself refuses to forget bytes that some row still refers to.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, set_now


def _held(table: str) -> ForeignKeyConstraint:
    # Named by the hash, so that models.database can tell what a violation means.
    held = ["account_blobs.account_id", "account_blobs.sha256"]
    return ForeignKeyConstraint(["account_id", "sha256"], held, name=f"fk_{table}_sha256")


class Blob(Base):
    """Bytes in the blob store, once for all accounts."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = set_now()


class AccountBlob(Base):
    """An account needs these bytes, or did at `touched_at`; it counts them once."""

    __tablename__ = "account_blobs"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), primary_key=True, index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    touched_at: Mapped[datetime] = set_now()


class Storage(Base):
    """What an account holds. Whoever changes that locks this row, so a limit is never passed by two at once."""

    __tablename__ = "storage"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    files: Mapped[int] = mapped_column(server_default="0")


class File(Base):
    """A file an account uploaded."""

    __tablename__ = "files"
    __table_args__ = (
        _held("files"),
        Index("ix_files_sha256", "account_id", "sha256"),
        Index("ix_files_newest", "account_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = set_now()


class TaskArtifact(Base):
    """Something a task made, under a name; `version` is its newest, `words` what is searched of that."""

    __tablename__ = "task_artifacts"
    __table_args__ = (
        UniqueConstraint("task_id", "name", name="uq_task_artifacts_name"),
        Index("ix_task_artifacts_newest", "account_id", "id"),
        Index("ix_task_artifacts_words", "words", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    task_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    words: Mapped[str | None] = mapped_column(TSVECTOR)
    created_at: Mapped[datetime] = set_now()
    updated_at: Mapped[datetime] = set_now()


class ArtifactVersion(Base):
    """One state of an artifact, written by one step of a run."""

    __tablename__ = "artifact_versions"
    __table_args__ = (
        _held("artifact_versions"),
        Index("ix_artifact_versions_sha256", "account_id", "sha256"),
    )

    artifact_id: Mapped[UUID] = mapped_column(ForeignKey("task_artifacts.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    run_id: Mapped[UUID]
    step: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    preview: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = set_now()


class Project(Base):
    """A tree of files with a history; `head` is the number of its newest snapshot, 0 before the first."""

    __tablename__ = "projects"
    __table_args__ = (UniqueConstraint("account_id", "name", name="uq_projects_name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str] = mapped_column(Text)
    head: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = set_now()
    updated_at: Mapped[datetime] = set_now()


class Snapshot(Base):
    """The state of a project at one time; `digest` is the same for equal trees, `task_id` tells whose result it is."""

    __tablename__ = "snapshots"

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    message: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(Text)
    restored_from: Mapped[int | None]
    task_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = set_now()


class SnapshotFile(Base):
    """A path in a snapshot, and its bytes."""

    __tablename__ = "snapshot_files"
    __table_args__ = (
        _held("snapshot_files"),
        ForeignKeyConstraint(
            ["project_id", "number"],
            ["snapshots.project_id", "snapshots.number"],
            name="fk_snapshot_files_snapshot",
            ondelete="CASCADE",
        ),
        Index("ix_snapshot_files_sha256", "account_id", "sha256"),
    )

    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(Text, primary_key=True)
    account_id: Mapped[UUID]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
