"""Artifacts: what is asked for and answered."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from models.artifact_types import ArtifactType
from models.repositories.artifacts import ArtifactRow, VersionRow
from web.schemas.common import Strict


class ArtifactPath(BaseModel):
    """Which artifact."""

    artifact_id: UUID = Field(description="The artifact's id.")


class WhichVersion(Strict):
    """Which version."""

    version: int | None = Field(None, ge=1, description="The newest by default.")


class ListArtifacts(Strict):
    """What to list."""

    q: Annotated[str, Field(min_length=1, max_length=400)] | None = Field(
        None, description='Words in names, titles or text: `sales -draft "per month"`. The best come first.'
    )
    type: ArtifactType | None = None
    task_id: UUID | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=200, description="`next_cursor` of the page before; not with `q`.")


class Preview(BaseModel):
    """What can be shown without the bytes: the beginning of a text, or an image's measures in pixels."""

    text: str | None = None
    truncated: bool | None = None
    width: int | None = None
    height: int | None = None


class Artifact(BaseModel):
    """An artifact with its newest version."""

    id: UUID
    task_id: UUID
    name: str
    title: str
    type: ArtifactType
    version: int
    media_type: str
    size: int = Field(description="Bytes.")
    sha256: str
    created_at: datetime
    updated_at: datetime
    links: dict[str, str]


class ArtifactList(BaseModel):
    """One page of artifacts."""

    artifacts: list[Artifact]
    next_cursor: str | None


class Version(BaseModel):
    """A version, and the step that made it."""

    version: int
    run_id: UUID
    step: str
    media_type: str
    size: int
    sha256: str
    created_at: datetime


class ArtifactWithVersions(Artifact):
    """An artifact and its history, the newest first."""

    versions: list[Version]


class HowMany(Strict):
    """How many."""

    limit: int = Field(5, ge=1, le=20)


class SimilarArtifact(Artifact):
    """One that is like another."""

    similarity: float


class SimilarArtifacts(BaseModel):
    """Artifacts like one, the most alike first, and what could not be asked."""

    artifacts: list[SimilarArtifact]
    sources: list[str]
    degraded: dict[str, str] = Field(description="Codes of errors by what could not be asked.")


def artifact_json(row: ArtifactRow) -> dict[str, Any]:
    """Render a row in the shape of :class:`Artifact`."""
    own = f"/v1/artifacts/{row.id}"
    links = {"self": own, "content": f"{own}/content", "preview": f"{own}/preview", "task": f"/v1/tasks/{row.task_id}"}
    return {name: value for name, value in row._asdict().items() if name != "preview"} | {"links": links}


def version_json(row: VersionRow) -> dict[str, Any]:
    """Render a row in the shape of :class:`Version`."""
    return {name: value for name, value in row._asdict().items() if name != "preview"}
