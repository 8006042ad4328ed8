"""Files an account keeps, and what tasks made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from umbel_client.http import Http
from umbel_client.models import JSON, moment


@dataclass(frozen=True, slots=True)
class File:
    """An uploaded file; `size` in bytes, `sha256` in hex."""

    id: str
    name: str
    media_type: str
    size: int
    sha256: str
    created_at: datetime | None
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        return cls(
            id=str(raw["id"]),
            name=str(raw.get("name")),
            media_type=str(raw.get("media_type")),
            size=int(raw.get("size") or 0),
            sha256=str(raw.get("sha256")),
            created_at=moment(raw.get("created_at")),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something a task made, with its newest version."""

    id: str
    task_id: str
    name: str
    title: str
    type: str
    version: int
    media_type: str
    size: int
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        return cls(
            id=str(raw["id"]),
            task_id=str(raw.get("task_id")),
            name=str(raw.get("name")),
            title=str(raw.get("title")),
            type=str(raw.get("type")),
            version=int(raw.get("version") or 1),
            media_type=str(raw.get("media_type")),
            size=int(raw.get("size") or 0),
            raw=raw,
        )


class Files:
    """The account's files; see `Umbel.files`. Every method raises ConnectionFailed or an ApiError."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def put(self, path: Path, name: str | None = None) -> File:
        """Upload a file; it is sent as it is read. Raises Invalid, or an ApiError that names the limit it is over."""
        fields = {} if name is None else {"name": name}
        with path.open("rb") as content:
            return File.of(self._http.upload("/v1/files", {"file": (path.name, content)}, fields))

    def get(self, file_id: str, to: Path) -> int:
        """Download a file and return its size; what is at `to` is replaced once all of it has come."""
        return self._http.download(f"/v1/files/{quote(file_id, safe='')}/content", to)

    def show(self, file_id: str) -> File:
        """What there is to know of a file."""
        return File.of(self._http.get(f"/v1/files/{quote(file_id, safe='')}"))

    def list(self, name: str | None = None, *, limit: int | None = None) -> Iterator[File]:
        """The files, the newest first, at most `limit`; pages are fetched as they are needed."""
        params: dict[str, Any] = {"name": name}
        while limit is None or limit > 0:
            params["limit"] = 100 if limit is None else min(100, limit)
            answer = self._http.get("/v1/files", params=params)
            yield from map(File.of, answer["files"])
            limit = None if limit is None else limit - len(answer["files"])
            params["cursor"] = answer.get("next_cursor")
            if not params["cursor"]:
                return

    def delete(self, file_id: str) -> None:
        """Delete a file. Raises NotFound when there is none."""
        self._http.delete(f"/v1/files/{quote(file_id, safe='')}")


class Artifacts:
    """What tasks made; see `Umbel.artifacts`. Every method raises ConnectionFailed or an ApiError."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self, task_id: str | None = None, *, q: str | None = None, limit: int = 100) -> Sequence[Artifact]:
        """The newest; of one task, or of all. With `q`, those that have its words, the best first."""
        answer = self._http.get("/v1/artifacts", params={"task_id": task_id, "q": q, "limit": limit})
        return tuple(map(Artifact.of, answer["artifacts"]))

    def similar(self, artifact_id: str, limit: int = 5) -> Sequence[Artifact]:
        """Those that are like one, the most alike first."""
        answer = self._http.get(f"/v1/artifacts/{quote(artifact_id, safe='')}/similar", params={"limit": limit})
        return tuple(map(Artifact.of, answer["artifacts"]))

    def get(self, artifact_id: str, to: Path, version: int | None = None) -> int:
        """Download a version, by default the newest, and return its size."""
        which = "" if version is None else f"?version={version}"
        return self._http.download(f"/v1/artifacts/{quote(artifact_id, safe='')}/content{which}", to)
