"""Projects and their snapshots: what is saved, asked for and answered."""

import base64
import binascii
import re
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, field_validator, model_validator

from models.repositories.projects import Entry, ProjectRow, SnapshotRow
from web.schemas.common import Strict, StrictIfGiven
from web.schemas.files import SHA256

FILES_MAX = 2000
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


def check_path(path: str) -> str:
    """Return a path that stays inside its tree.

    Raises:
        ValueError: it is absolute, has empty parts, `.` or `..`, a backslash or control characters.
    """
    if _CONTROL.search(path) or any(part in ("", ".", "..", ".git") for part in path.split("/")):
        raise ValueError("must be relative, with forward slashes, without empty parts, `.`, `..` and `.git`")
    return path


class ProjectPath(BaseModel):
    """Which project."""

    project_id: UUID = Field(description="The project's id.")


class SnapshotPath(ProjectPath):
    """Which snapshot."""

    number: int = Field(ge=1, le=2**31 - 1, description="The snapshot's number.")


class SnapshotFilePath(SnapshotPath):
    """Which file of a snapshot."""

    file_path: str = Field(max_length=1000, description="Its path.")


class NewProject(Strict):
    """A project to begin."""

    name: Name


class ListProjects(Strict):
    """Which page."""

    limit: int = Field(50, ge=1, le=200)
    after: str = Field("", max_length=200, description="`next` of the page before.")


class ListSnapshots(Strict):
    """Which page."""

    limit: int = Field(50, ge=1, le=200)
    before: int | None = Field(None, ge=1, le=2**31 - 1, description="`next` of the page before.")


class SavedFile(Strict):
    """A file: its text, its bytes, an uploaded file, or the hash of bytes the account has."""

    path: Annotated[str, Field(min_length=1, max_length=1000)]
    content: str | None = None
    base64: str | None = None
    file_id: UUID | None = None
    sha256: Annotated[str, Field(pattern=SHA256)] | None = None

    _path = field_validator("path")(check_path)

    @model_validator(mode="after")
    def _one(self) -> "SavedFile":
        if sum(each is not None for each in (self.content, self.base64, self.file_id, self.sha256)) != 1:
            raise ValueError("give one of content, base64, file_id and sha256")
        self.raw()
        return self

    def raw(self) -> bytes | None:
        """Return the bytes that were sent; None if they are only referred to.

        Raises:
            ValueError: it is not base64.
        """
        if self.base64 is None:
            return None if self.content is None else self.content.encode()
        try:
            return base64.b64decode(self.base64, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("base64 is not valid base64") from None


class SaveSnapshot(Strict):
    """The next state of a project."""

    message: Annotated[str, Field(max_length=2000)] = ""
    base: int | None = Field(None, ge=0, description="Save only onto this newest snapshot; 0: only as the first.")
    whole: bool = Field(True, description="Whether `files` is the whole tree, or what changes in the newest one.")
    files: list[SavedFile] = Field([], max_length=FILES_MAX)
    delete: list[str] = Field([], max_length=FILES_MAX, description="Paths to leave out; not with `whole`.")

    @model_validator(mode="after")
    def _consistent(self) -> "SaveSnapshot":
        paths = [each.path for each in self.files]
        if twice := sorted({path for path in paths if paths.count(path) > 1}):
            raise ValueError(f"two files have the path {twice[0][:100]}")
        if self.whole and self.delete:
            raise ValueError("delete belongs to whole: false")
        return self


class Restore(StrictIfGiven):
    """On what condition, and why."""

    message: Annotated[str, Field(max_length=2000)] = ""
    base: int | None = Field(None, ge=0, description="Only onto this newest snapshot.")


class DiffQuery(Strict):
    """With which snapshot to compare."""

    against: int | None = Field(None, ge=0, le=2**31 - 1, description="The one before by default; 0: the empty tree.")


class Project(BaseModel):
    """A project."""

    id: UUID
    name: str
    head: int = Field(description="Number of its newest snapshot; 0 before the first.")
    created_at: datetime
    updated_at: datetime


class ProjectList(BaseModel):
    """Projects in order of name."""

    projects: list[Project]
    next: str | None


class Snapshot(BaseModel):
    """The state of a project at one time."""

    number: int
    message: str
    digest: str = Field(description="The same for equal trees.")
    restored_from: int | None
    created_at: datetime
    files: int
    bytes: int
    task_id: UUID | None = Field(description="The task whose result it took over.")


class SnapshotList(BaseModel):
    """A history, the newest first."""

    snapshots: list[Snapshot]
    next: int | None


class TreeFile(BaseModel):
    """A file of a snapshot."""

    path: str
    sha256: str
    size: int


class SnapshotTree(Snapshot):
    """A snapshot with its files."""

    tree: list[TreeFile]


class FileDiff(BaseModel):
    """How a file differs; `patch` is null where `omitted` says why."""

    path: str
    change: Literal["added", "removed", "changed"]
    patch: str | None
    omitted: Literal["binary", "too_large"] | None = None


class SnapshotDiff(BaseModel):
    """What leads from one snapshot to another; the patches one after the other are a diff `git apply` takes."""

    number: int
    against: int
    files: list[FileDiff]


def project_json(row: ProjectRow) -> dict[str, Any]:
    """Render a row in the shape of :class:`Project`."""
    return row._asdict()


def snapshot_json(row: SnapshotRow) -> dict[str, Any]:
    """Render a row in the shape of :class:`Snapshot`."""
    return row._asdict()


def tree_json(row: SnapshotRow, tree: list[Entry]) -> dict[str, Any]:
    """Render a snapshot and its files."""
    return {**row._asdict(), "tree": [each._asdict() for each in tree]}
