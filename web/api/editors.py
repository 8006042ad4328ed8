"""The door for code editors that were written for a server of this shape; the same tasks as under /v1."""

from typing import Any

from flask import g
from flask_openapi3.models.tag import Tag

from models.repositories import requests
from web import editors, taking
from web.binding import Api
from web.schemas.common import Problem, TaskPath
from web.schemas.editors import (
    EditorAccept,
    EditorReject,
    EditorSave,
    EditorSaved,
    EditorTask,
    EditorTaskCreated,
    EditorTaskState,
    state_json,
)
from web.services import services
from web.telling import tell

api = Api("editors", __name__, url_prefix="/api", abp_tags=[Tag(name="editors")])
_DECIDED: dict[int | str, Any] = {200: EditorTaskState, 404: Problem, 409: Problem}


@api.post("/agent/tasks", summary="Hand in a task", responses={202: EditorTaskCreated, 422: Problem})
def create(body: EditorTask) -> tuple[dict[str, Any], int]:
    """The files are kept in the project, which is begun if there is none of that name."""
    task = editors.create(g.scope, body, services().settings)
    return {"taskId": task.id, "status": state_json(task)["status"]}, 202


@api.get("/agent/tasks/<task_id>", summary="Look at a task", responses={200: EditorTaskState, 404: Problem})
def get(path: TaskPath) -> dict[str, Any]:
    """To be asked again until `status` is `done` or `failed`."""
    return state_json(editors.task(g.scope, path.task_id))


@api.post("/agent/tasks/<task_id>/accept", summary="Accept its patches", responses=_DECIDED)
def accept(path: TaskPath, body: EditorAccept) -> dict[str, Any]:
    """Save them in the project, too."""
    editors.task(g.scope, path.task_id)
    asked = taking.accept(g.scope, path.task_id, body)
    tell(asked, quiet=True)
    return state_json(editors.task(g.scope, path.task_id))


@api.post("/agent/tasks/<task_id>/reject", summary="Reject its patches", responses=_DECIDED)
def reject(path: TaskPath, body: EditorReject) -> dict[str, Any]:
    """For the record."""
    scope, said = g.scope, body.reason or body.comment
    editors.task(scope, path.task_id)
    asked = services().database.run(lambda c: requests.decide(c, scope, path.task_id, "rejected", said))
    tell(asked, quiet=True)
    return state_json(editors.task(g.scope, path.task_id))


@api.post("/projects/save", summary="Save a project's files", responses={200: EditorSaved, 409: Problem, 422: Problem})
def save(body: EditorSave) -> dict[str, Any]:
    """As its next version; the project is begun if there is none of that name."""
    return editors.keep(g.scope, body)
