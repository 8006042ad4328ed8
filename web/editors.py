"""The door for code editors: their requests, as tasks of code_assist and snapshots of projects."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from config.settings import Settings
from models.errors import NotFound
from models.repositories import projects
from models.repositories.projects import SnapshotRow
from models.repositories.tasks import TaskRow
from models.scope import AccountScope
from web.binding import validated
from web.errors import NotFound as NothingHere
from web.polling import read
from web.projects import save
from web.schemas.editors import PROJECT, ROOT, EditorSave, EditorTask, from_root
from web.schemas.projects import SaveSnapshot
from web.schemas.tasks import SubmitTask
from web.services import services
from web.submit import check_input, new_task, submit

WORKFLOW = "code_assist"
#: What stands in for a project's id until its input was checked.
_ANY = str(UUID(int=0))


def create(scope: AccountScope, body: EditorTask, settings: Settings) -> TaskRow:
    """Keep the editor's files in its project, as the version the task begins with, and submit the task.

    Raises:
        Invalid: there is no such mode, or it can't begin with this.
    """
    given = body.model_dump(by_alias=False, exclude_none=True, exclude={"project_id"})
    named = [(each, "path") for each in given["files"]] + [(each, "file") for each in [given.get("cursor")] if each]
    rooted = all(each[name].startswith("/") for each, name in named)
    for each, name in named if rooted else []:
        each[name] = from_root(each[name])
    check_input(WORKFLOW, {**given, "project_id": _ANY})
    project_id = project_of(scope, body.project_id)
    row, _ = _saved(scope, project_id, {"files": given["files"], "whole": False, "message": "Sent with a task"})
    given |= {"project_id": str(project_id), "snapshot": row.number}
    about = {PROJECT: body.project_id} | ({ROOT: "/"} if rooted else {})
    submitted = SubmitTask(workflow=WORKFLOW, input=given, metadata=about)
    return submit(scope, new_task(submitted, settings)).task


def keep(scope: AccountScope, body: EditorSave) -> dict[str, Any]:
    """Save files in a project, which is begun if there is none, in the shape of `EditorSaved`.

    Raises:
        Invalid: they can't lie in a project together.
        Conflict: somebody saved since `base`.
    """
    changes = body.model_dump(by_alias=False, exclude={"project_id"})
    row, new = _saved(scope, project_of(scope, body.project_id), changes)
    about = {"projectId": body.project_id, "version": row.number, "saved": new}
    return {**about, "files": row.files, "savedAt": row.created_at}


def _saved(scope: AccountScope, project_id: UUID, changes: dict[str, Any]) -> tuple[SnapshotRow, bool]:
    body = validated(SaveSnapshot, changes)
    assert isinstance(body, SaveSnapshot)
    return save(scope, project_id, body)


def project_of(scope: AccountScope, named: str) -> UUID:
    """Return the project an editor means by an id or a name; a name nobody has begins one.

    Raises:
        NotFound: it is an id, and the account has no such project.
    """
    database = services().database
    with suppress(ValueError):
        project_id = UUID(named)
        return database.read(lambda connection: projects.get(connection, scope, project_id)).id
    with suppress(NotFound):
        return database.read(lambda connection: projects.named(connection, scope, named)).id
    return database.run(lambda connection: projects.ensure(connection, scope, named)).id


def task(scope: AccountScope, task_id: UUID) -> TaskRow:
    """Return a task of code_assist.

    Raises:
        NotFound: the account has none with this id.
    """
    found = read(services(), scope, task_id)
    if found.workflow != WORKFLOW:
        raise NothingHere
    return found
