"""Files: what is uploaded, referred to and answered."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from models.repositories.files import FileRow
from web.schemas.common import Strict

#: A file's name: no control characters, no directories.
NAME = r"[^\x00-\x1f\x7f/\\]{1,255}"
SHA256 = r"^[0-9a-f]{64}$"

FileName = Annotated[str, Field(pattern=rf"^{NAME}$")]


class FilePath(BaseModel):
    """Which file."""

    file_id: UUID = Field(description="The file's id.")


class ReferFile(Strict):
    """A file whose bytes the account has already."""

    name: FileName
    sha256: Annotated[str, Field(pattern=SHA256, description="Of a file, an artifact or a project's file.")]


class ListFiles(Strict):
    """What to list; newest first."""

    name: str | None = Field(None, max_length=255, description="Files of this name.")
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=200, description="`next_cursor` of the page before.")


class File(BaseModel):
    """An uploaded file."""

    id: UUID
    name: str
    media_type: str
    size: int = Field(description="Bytes.")
    sha256: str
    created_at: datetime
    links: dict[str, str]


class FileList(BaseModel):
    """One page of files."""

    files: list[File]
    next_cursor: str | None


class StorageUse(BaseModel):
    """What the account keeps, and may keep."""

    bytes: int = Field(description="Of files, artifacts and projects; equal ones count once.")
    files: int
    max_bytes: int
    max_files: int
    max_file_bytes: int


def file_json(row: FileRow) -> dict[str, Any]:
    """Render a row in the shape of :class:`File`."""
    own = f"/v1/files/{row.id}"
    return {**row._asdict(), "links": {"self": own, "content": f"{own}/content"}}
