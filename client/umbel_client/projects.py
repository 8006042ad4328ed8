"""Projects: trees of files with a history of snapshots."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from umbel_client.http import Http
from umbel_client.models import JSON, moment

PAGE = 100


@dataclass(frozen=True, slots=True)
class Project:
    """A project; `head` is the number of its newest snapshot, 0 before the first."""

    id: str
    name: str
    head: int
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        return cls(id=str(raw["id"]), name=str(raw.get("name")), head=int(raw.get("head") or 0), raw=raw)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a project at one time; `task_id` tells whose result it is, `files` and `bytes` how much it holds."""

    number: int
    message: str
    task_id: str | None
    files: int
    bytes: int
    created_at: datetime | None
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        return cls(
            number=int(raw["number"]),
            message=str(raw.get("message") or ""),
            task_id=str(raw["task_id"]) if raw.get("task_id") else None,
            files=int(raw.get("files") or 0),
            bytes=int(raw.get("bytes") or 0),
            created_at=moment(raw.get("created_at")),
            raw=raw,
        )


class Projects:
    """The account's projects; see `Umbel.projects`. Every method raises ConnectionFailed or an ApiError."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def begin(self, name: str) -> Project:
        """Begin a project. Raises Conflict when there is one of this name."""
        return Project.of(self._http.post("/v1/projects", {"name": name}))

    def list(self) -> Iterator[Project]:
        """All projects by name; pages are fetched as they are needed."""
        params: dict[str, Any] = {"limit": PAGE, "after": None}
        while True:
            answer = self._http.get("/v1/projects", params=params)
            yield from map(Project.of, answer["projects"])
            params["after"] = answer.get("next")
            if not params["after"]:
                return

    def show(self, project_id: str) -> Project:
        """What there is to know of a project. Raises NotFound when there is none."""
        return Project.of(self._http.get(_path(project_id)))

    def delete(self, project_id: str) -> None:
        """Delete a project with its history. Raises NotFound when there is none."""
        self._http.delete(_path(project_id))

    def save(
        self,
        project_id: str,
        files: Mapping[str, str | bytes],
        *,
        delete: Sequence[str] = (),
        whole: bool = False,
        base: int | None = None,
        message: str = "",
    ) -> Snapshot:
        """Save the next snapshot and return it, or the newest if nothing differs from that.

        `files` by path is what changes, or all there is with `whole`; `delete` names paths to leave out.
        Raises Conflict when somebody saved since snapshot `base`.
        """
        body: dict[str, Any] = {"files": [_sent(path, content) for path, content in files.items()], "whole": whole}
        body |= {"message": message} | ({} if base is None else {"base": base})
        body |= {"delete": [*delete]} if delete else {}
        return Snapshot.of(self._http.post(f"{_path(project_id)}/snapshots", body))

    def history(self, project_id: str) -> Iterator[Snapshot]:
        """The snapshots, the newest first; pages are fetched as they are needed."""
        params: dict[str, Any] = {"limit": PAGE, "before": None}
        while True:
            answer = self._http.get(f"{_path(project_id)}/snapshots", params=params)
            yield from map(Snapshot.of, answer["snapshots"])
            params["before"] = answer.get("next")
            if not params["before"]:
                return

    def paths(self, project_id: str, number: int) -> Sequence[str]:
        """The files of a snapshot, in order."""
        answer = self._http.get(f"{_path(project_id)}/snapshots/{number}")
        return tuple(str(each["path"]) for each in answer["tree"])

    def get(self, project_id: str, number: int, path: str, to: Path) -> int:
        """Download a file of a snapshot and return its size; what is at `to` is replaced once all of it has come."""
        return self._http.download(f"{_path(project_id)}/snapshots/{number}/files/{quote(path)}", to)


def _path(project_id: str) -> str:
    return f"/v1/projects/{quote(project_id, safe='')}"


def _sent(path: str, content: str | bytes) -> dict[str, str]:
    if isinstance(content, str):
        return {"path": path, "content": content}
    return {"path": path, "base64": b64encode(content).decode()}
