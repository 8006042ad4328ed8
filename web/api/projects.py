"""Projects: begin, save, look back, compare, restore."""

from typing import Any

from flask import Response, g
from flask_openapi3.models.tag import Tag

from models import media
from models.repositories import projects
from models.scope import AccountScope
from web.binding import Api
from web.downloads import send
from web.projects import compare, save
from web.schemas.common import Problem
from web.schemas.projects import (
    DiffQuery,
    ListProjects,
    ListSnapshots,
    NewProject,
    Project,
    ProjectList,
    ProjectPath,
    Restore,
    SaveSnapshot,
    Snapshot,
    SnapshotDiff,
    SnapshotFilePath,
    SnapshotList,
    SnapshotPath,
    SnapshotTree,
    project_json,
    snapshot_json,
    tree_json,
)
from web.services import services

api = Api("projects", __name__, url_prefix="/v1", abp_tags=[Tag(name="projects")])


@api.post("/projects", summary="Begin a project", responses={201: Project, 409: Problem, 422: Problem})
def create(body: NewProject) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Without a snapshot yet."""
    scope: AccountScope = g.scope
    row = services().database.run(lambda connection: projects.create(connection, scope, body.name))
    return project_json(row), 201, {"Location": f"/v1/projects/{row.id}"}


@api.get("/projects", summary="List projects", responses={200: ProjectList})
def list_projects(query: ListProjects) -> dict[str, Any]:
    """In order of name; `next` leads to the next page."""
    scope: AccountScope = g.scope
    found = services().database.read(lambda c: projects.list_projects(c, scope, query.after, query.limit + 1))
    page = found[: query.limit]
    more = len(found) > query.limit
    return {"projects": [project_json(row) for row in page], "next": page[-1].name if more else None}


@api.get("/projects/<project_id>", summary="Get a project", responses={200: Project, 404: Problem})
def get(path: ProjectPath) -> dict[str, Any]:
    """With the number of its newest snapshot."""
    scope: AccountScope = g.scope
    return project_json(services().database.read(lambda c: projects.get(c, scope, path.project_id)))


@api.delete("/projects/<project_id>", summary="Delete a project", responses={204: None, 404: Problem})
def delete(path: ProjectPath) -> tuple[str, int]:
    """With its whole history."""
    scope: AccountScope = g.scope
    services().database.run(lambda connection: projects.delete(connection, scope, path.project_id))
    return "", 204


@api.post(
    "/projects/<project_id>/snapshots",
    summary="Save a snapshot",
    responses={200: Snapshot, 201: Snapshot, 404: Problem, 409: Problem, 422: Problem},
)
def save_snapshot(path: ProjectPath, body: SaveSnapshot) -> tuple[dict[str, Any], int]:
    """201 with the new one; 200 with the newest if nothing differs from it."""
    row, new = save(g.scope, path.project_id, body)
    return snapshot_json(row), 201 if new else 200


@api.get("/projects/<project_id>/snapshots", summary="A project's history", responses={200: SnapshotList, 404: Problem})
def history(path: ProjectPath, query: ListSnapshots) -> dict[str, Any]:
    """The newest first; `next` leads to the next page."""
    scope, database = g.scope, services().database
    database.read(lambda c: projects.get(c, scope, path.project_id))
    found = database.read(lambda c: projects.snapshots(c, scope, path.project_id, query.before, query.limit + 1))
    page = found[: query.limit]
    more = len(found) > query.limit
    return {"snapshots": [snapshot_json(row) for row in page], "next": page[-1].number if more else None}


@api.get(
    "/projects/<project_id>/snapshots/<number>", summary="Get a snapshot", responses={200: SnapshotTree, 404: Problem}
)
def snapshot(path: SnapshotPath) -> dict[str, Any]:
    """With its files."""
    scope, database = g.scope, services().database
    row = database.read(lambda c: projects.snapshot(c, scope, path.project_id, path.number))
    return tree_json(row, database.read(lambda c: projects.tree(c, scope, path.project_id, path.number)))


@api.get(
    "/projects/<project_id>/snapshots/<number>/files/<path:file_path>",
    summary="Download a file of a snapshot",
    responses={200: None, 206: None, 404: Problem},
)
def file_of_snapshot(path: SnapshotFilePath) -> Response:
    """As it was then."""
    scope: AccountScope = g.scope
    row = services().database.read(lambda c: projects.entry(c, scope, path.project_id, path.number, path.file_path))
    return send(services().blobs, row.sha256, row.size, row.path.rpartition("/")[2], media.UNKNOWN)


@api.get(
    "/projects/<project_id>/snapshots/<number>/diff",
    summary="Compare a snapshot",
    responses={200: SnapshotDiff, 404: Problem},
)
def diff(path: SnapshotPath, query: DiffQuery) -> dict[str, Any]:
    """With the one before, or another."""
    scope, database = g.scope, services().database
    against = path.number - 1 if query.against is None else query.against
    for number in filter(None, (path.number, against)):
        database.read(lambda c, n=number: projects.snapshot(c, scope, path.project_id, n))  # type: ignore[misc]
    old, new = (
        database.read(lambda c, n=number: projects.tree(c, scope, path.project_id, n))  # type: ignore[misc]
        for number in (against, path.number)
    )
    return {"number": path.number, "against": against, "files": compare(old, new)}


@api.post(
    "/projects/<project_id>/snapshots/<number>/restore",
    summary="Go back to a snapshot",
    responses={200: Snapshot, 201: Snapshot, 404: Problem, 409: Problem},
)
def restore(path: SnapshotPath, body: Restore) -> tuple[dict[str, Any], int]:
    """As a new snapshot, so that nothing in between is lost."""
    row, new = services().database.run(lambda connection: _restore(connection, g.scope, path, body))
    return snapshot_json(row), 201 if new else 200


def _restore(
    connection: Any, scope: AccountScope, path: SnapshotPath, body: Restore
) -> tuple[projects.SnapshotRow, bool]:
    projects.snapshot(connection, scope, path.project_id, path.number)
    tree = projects.tree(connection, scope, path.project_id, path.number)
    message, number = body.message or f"Restored from {path.number}", path.number
    return projects.save(
        connection, scope, path.project_id, tree, message=message, base=body.base, restored_from=number
    )
