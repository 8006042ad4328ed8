"""The shapes of the door for code editors: camelCase, as those speak that were written for a door like it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from models.repositories.equals import SUPERSEDED_BY
from models.repositories.tasks import TaskRow
from models.tasks import Status
from web.schemas.common import StrictIfGiven
from web.schemas.projects import FILES_MAX, SavedFile
from web.schemas.tasks import Accept

#: Where a task's metadata keeps what the editor calls its project.
PROJECT = "projectId"
#: And what stood before its paths: some editors write them from a root.
ROOT = "root"
_STATUS = {
    Status.QUEUED: "queued",
    Status.RUNNING: "processing",
    Status.WAITING: "processing",
    Status.SUCCEEDED: "done",
}
_NO_MODEL = "none"

ProjectId = Annotated[
    str,
    Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", description="A project's id, or a name."),
]


class Camel(BaseModel):
    """Fields in camelCase; what is not known is passed over, as other servers of this shape do."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", serialize_by_alias=True)


class EditorFile(Camel):
    """A file of the editor, in full."""

    path: str
    content: str


class EditorCursor(Camel):
    """Where the person is; from 1."""

    file: str
    line: int
    col: int


class EditorTask(Camel):
    """What an editor wants done."""

    project_id: ProjectId
    files: list[EditorFile] = Field(min_length=1, max_length=FILES_MAX)
    cursor: EditorCursor | None = None
    prompt: str | None = None
    mode: str = Field(description="A mode of the workflow code_assist.")


class EditorTaskCreated(Camel):
    """Its answer."""

    task_id: str
    status: str


class EditorPatch(Camel):
    """How a file is changed."""

    path: str
    patch: str = Field(description="A unified diff.")


class EditorResult(Camel):
    """What came of a task."""

    type: str
    files_modified: list[EditorPatch] | None = None
    explanation: str | None = None


class EditorMetrics(Camel):
    """What it took."""

    tokens: int
    llm_provider: str
    duration_ms: int


class EditorTaskState(Camel):
    """A task as editors see it; what is not there yet is left out."""

    id: str
    user_id: str
    project_id: str | None
    files: list[EditorFile]
    cursor: EditorCursor | None = None
    prompt: str | None = None
    mode: str
    status: Literal["queued", "processing", "done", "failed"]
    result: EditorResult | None = None
    metrics: EditorMetrics | None = None
    error: str | None = None
    accepted: bool | None = Field(None, description="Once a person has decided.")
    created_at: datetime
    updated_at: datetime


class EditorAccept(Accept):
    """A person's word on a result."""

    model_config = ConfigDict(extra="ignore")


class EditorReject(StrictIfGiven):
    """A person's word on a result; both fields mean the same."""

    model_config = ConfigDict(extra="ignore")

    reason: str | None = Field(None, max_length=2000)
    comment: str | None = Field(None, max_length=2000)


def from_root(path: Any) -> Any:
    """Return a path as it is in a project: without the slash of editors that write it from a root."""
    return path.removeprefix("/") if isinstance(path, str) else path


class EditorSavedFile(SavedFile):
    """A file to keep."""

    _from_root = field_validator("path", mode="before")(from_root)


class EditorSave(Camel):
    """Files to keep; those of the project that are not named stay as they are, unless `whole`."""

    project_id: ProjectId
    files: list[EditorSavedFile] = Field(max_length=FILES_MAX)
    delete: list[Annotated[str, BeforeValidator(from_root)]] = Field([], max_length=FILES_MAX)
    whole: bool = False
    base: int | None = Field(None, ge=0, description="Only onto this version.")
    message: str = Field("", max_length=2000)


class EditorSaved(Camel):
    """Where they are."""

    project_id: str
    version: int
    saved: bool = Field(description="False if nothing differs from the version before.")
    files: int
    saved_at: datetime


def state_json(row: TaskRow) -> dict[str, Any]:
    """Render a task of code_assist in the shape of :class:`EditorTaskState`."""
    status = _STATUS.get(Status(row.status), "failed")
    root, cursor = row.metadata.get(ROOT, ""), row.input.get("cursor")
    given = {name: row.input.get(name) for name in ("prompt", "mode")}
    shown = {
        "id": str(row.id),
        "userId": str(row.user_id or row.account_id),
        "projectId": row.metadata.get(PROJECT) or row.input.get("project_id"),
        "files": _rooted(row.input["files"], "path", root),
        "cursor": cursor and _rooted([cursor], "file", root)[0],
        **given,
        "status": status,
        "result": _result(row.result, root) if status == "done" else None,
        "metrics": _metrics(row) if row.finished_at else None,
        "error": _error(row) if status == "failed" else None,
        "accepted": row.decision["verdict"] == "accepted" if row.decision else None,
        "createdAt": row.created_at,
        "updatedAt": row.finished_at or row.started_at or row.created_at,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _rooted(listed: list[dict[str, Any]], name: str, root: str) -> list[dict[str, Any]]:
    return [each | {name: root + each[name]} for each in listed]


def _result(result: dict[str, Any], root: str) -> dict[str, Any]:
    shown = {"type": result["type"], "explanation": result.get("explanation")}
    patches = [{"path": each["path"], "patch": each["patch"]} for each in result.get("files_modified") or []]
    return {**shown, "filesModified": _rooted(patches, "path", root)}


def _metrics(row: TaskRow) -> dict[str, Any]:
    used, began = row.total_usage, row.started_at or row.created_at
    took = (row.finished_at - began).total_seconds() if row.finished_at else 0
    return {
        "tokens": used.get("input_tokens", 0) + used.get("output_tokens", 0),
        "llmProvider": _model(row.result).partition(":")[0] or _NO_MODEL,
        "durationMs": max(0, round(took * 1000)),
    }


def _model(result: Any) -> str:
    """Return which model a result names, itself or in a part; empty if none."""
    parts = [result, *result.values()] if isinstance(result, dict) else []
    return next((str(each["model"]) for each in parts if isinstance(each, dict) and each.get("model")), "")


def _error(row: TaskRow) -> str:
    if SUPERSEDED_BY in row.metadata:
        return f"A newer request took its place: {row.metadata[SUPERSEDED_BY]}."
    if row.status == Status.CANCELLED:
        return "The task was cancelled."
    return str((row.error or {}).get("message") or row.status)
