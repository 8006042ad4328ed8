"""Tasks: submit, read, list, and ask things of them."""

from collections.abc import Callable
from typing import Any

from flask import g
from flask_openapi3.models.tag import Tag
from flask_openapi3.types import ResponseDict

from models.database import Database
from models.repositories import requests, tasks, why
from models.repositories.requests import Asked
from models.repositories.tasks import TaskFilter
from models.scope import AccountScope
from web import paging, taking
from web.binding import Api
from web.polling import read, wait_for_end
from web.schemas.common import Problem, TaskPath
from web.schemas.tasks import Accept, Decide, GetTask, ListTasks, Resume, SubmitTask, Task, TaskList, task_json
from web.schemas.why import Why
from web.services import services
from web.submit import new_task
from web.submit import submit as handed_in
from web.telling import tell
from web.why import explain

api = Api("tasks", __name__, url_prefix="/v1", abp_tags=[Tag(name="tasks")])
_IDEMPOTENCY = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "description": "The same key with the same body gives the same task, however often it is sent.",
        }
    ]
}
_SUBMITTED: ResponseDict = {200: Task, 202: Task, 422: Problem}
_ASKED: ResponseDict = {202: Task, 404: Problem, 409: Problem}
_DECIDED: ResponseDict = {200: Task, 404: Problem, 409: Problem}


@api.post("/tasks", summary="Submit a task", responses=_SUBMITTED, openapi_extensions=_IDEMPOTENCY)
def submit(body: SubmitTask) -> tuple[dict[str, Any], int, dict[str, str]]:
    """202 once it is recorded; 200 when this Idempotency-Key made it before."""
    submitted = handed_in(g.scope, new_task(body, services().settings))
    task = submitted.task
    return task_json(task), 202 if submitted.created else 200, {"Location": f"/v1/tasks/{task.id}"}


@api.get("/tasks", summary="List tasks, newest first", responses={200: TaskList, 400: Problem})
def list_tasks(query: ListTasks) -> dict[str, Any]:
    """One page; `next_cursor` leads to the next."""
    scope: AccountScope = g.scope
    where = TaskFilter(
        status=[status.value for status in query.status] if query.status else None,
        workflow=query.workflow,
        tag=query.tag,
        parent_id=query.parent,
        created_after=query.created_after,
        created_before=query.created_before,
        before_id=paging.decode(query.cursor),
    )
    found = _database().read(lambda connection: tasks.list_tasks(connection, scope, where, query.limit + 1))
    page = found[: query.limit]
    more = len(found) > query.limit
    return {"tasks": [task_json(row) for row in page], "next_cursor": paging.encode(page[-1].id) if more else None}


@api.get("/tasks/<task_id>", summary="Get a task", responses={200: Task, 404: Problem})
def get_task(path: TaskPath, query: GetTask) -> tuple[dict[str, Any], int, dict[str, str]]:
    """With `wait`, the answer comes as soon as the task has ended."""
    task = wait_for_end(services(), g.scope, path.task_id, query.wait)
    return task_json(task), 200, {"Umbel-Synthetic": "true"} if task.total_usage.get("synthetic") else {}


@api.get("/tasks/<task_id>/why", summary="Why is it where it is?", responses={200: Why, 404: Problem})
def get_why(path: TaskPath) -> dict[str, Any]:
    """A sentence for a person, and the facts behind it."""
    scope: AccountScope = g.scope
    return explain(_database().read(lambda connection: why.facts(connection, scope, path.task_id)))


@api.post("/tasks/<task_id>/cancel", summary="Cancel", responses=_ASKED)
def cancel(path: TaskPath) -> tuple[dict[str, Any], int]:
    """Ask for a stop of it and of all it started; `run.cancel` shows when it was acknowledged and done."""
    return _ask(path, requests.cancel), 202


@api.post("/tasks/<task_id>/pause", summary="Pause", responses=_ASKED)
def pause(path: TaskPath) -> tuple[dict[str, Any], int]:
    """Ask for a pause at the next step boundary."""
    return _ask(path, requests.pause), 202


@api.post("/tasks/<task_id>/resume", summary="Resume", responses=_ASKED)
def resume(path: TaskPath, body: Resume) -> tuple[dict[str, Any], int]:
    """Go on after a pause, or after a doubt with a decision."""
    return _ask(path, lambda connection, scope, task: requests.resume(connection, scope, task, body.decision)), 202


@api.post("/tasks/<task_id>/retry", summary="Retry", responses=_ASKED)
def retry(path: TaskPath) -> tuple[dict[str, Any], int]:
    """Start a new run of a failed or dead task; finished steps are not repeated."""
    return _ask(path, requests.retry, fresh=True), 202


@api.post("/tasks/<task_id>/accept", summary="Accept the result", responses=_DECIDED)
def accept(path: TaskPath, body: Accept) -> dict[str, Any]:
    """Record that a person took the result over; changes to a project's files are saved there in the same moment."""
    return _told(path, taking.accept(g.scope, path.task_id, body), quiet=True)


@api.post("/tasks/<task_id>/reject", summary="Reject the result", responses=_DECIDED)
def reject(path: TaskPath, body: Decide) -> dict[str, Any]:
    """Record that a person refused the result."""
    scope: AccountScope = g.scope
    asked = _database().run(lambda c: requests.decide(c, scope, path.task_id, "rejected", body.comment))
    return _told(path, asked, quiet=True)


def _ask(path: TaskPath, request: Callable[..., Asked], *, fresh: bool = False) -> dict[str, Any]:
    """Write the request, and after the commit tell whoever can act on it."""
    scope: AccountScope = g.scope
    return _told(path, _database().run(lambda connection: request(connection, scope, path.task_id)), fresh=fresh)


def _told(path: TaskPath, asked: Asked, *, fresh: bool = False, quiet: bool = False) -> dict[str, Any]:
    """Tell whoever can act on what was written (`quiet`: only who learns from it); return the task."""
    tell(asked, fresh=fresh, quiet=quiet)
    return task_json(read(services(), g.scope, path.task_id))


def _database() -> Database:
    return services().database
