"""Artifacts of tasks: list, search, read, preview and delete."""

from typing import Any
from uuid import UUID

from flask import Response, g
from flask_openapi3.models.tag import Tag

from models.repositories import artifacts, tasks
from models.repositories.artifacts import Wanted
from models.scope import AccountScope
from web import paging
from web.asking import similar
from web.binding import Api
from web.downloads import send
from web.schemas.artifacts import (
    ArtifactList,
    ArtifactPath,
    ArtifactWithVersions,
    HowMany,
    ListArtifacts,
    Preview,
    SimilarArtifacts,
    WhichVersion,
    artifact_json,
    version_json,
)
from web.schemas.common import Problem, TaskPath
from web.services import services

api = Api("artifacts", __name__, url_prefix="/v1", abp_tags=[Tag(name="artifacts")])


@api.get("/tasks/<task_id>/artifacts", summary="List a task's artifacts", responses={200: ArtifactList, 404: Problem})
def task_artifacts(path: TaskPath, query: ListArtifacts) -> dict[str, Any]:
    """As `GET /v1/artifacts`, of one task."""
    scope: AccountScope = g.scope
    services().database.read(lambda connection: tasks.get(connection, scope, path.task_id))
    return _page(query.model_copy(update={"task_id": path.task_id}))


@api.get("/artifacts", summary="List or search artifacts", responses={200: ArtifactList, 400: Problem})
def list_artifacts(query: ListArtifacts) -> dict[str, Any]:
    """Newest first; with `q`, those that have its words, the best first and without a cursor."""
    return _page(query)


def _page(query: ListArtifacts) -> dict[str, Any]:
    scope, before = g.scope, paging.decode(query.cursor)
    wanted = Wanted(query.task_id, query.type, query.q, before)
    found = services().database.read(lambda c: artifacts.list_artifacts(c, scope, wanted, query.limit + 1))
    page = found[: query.limit]
    more = len(found) > query.limit and query.q is None
    next_cursor = paging.encode(page[-1].id) if more else None
    return {"artifacts": [artifact_json(row) for row in page], "next_cursor": next_cursor}


@api.get("/artifacts/<artifact_id>", summary="Get an artifact", responses={200: ArtifactWithVersions, 404: Problem})
def get_artifact(path: ArtifactPath) -> dict[str, Any]:
    """With its versions."""
    scope, database = g.scope, services().database
    row = database.read(lambda c: artifacts.get(c, scope, path.artifact_id))
    versions = database.read(lambda c: artifacts.versions(c, scope, path.artifact_id))
    return {**artifact_json(row), "versions": [version_json(each) for each in versions]}


@api.get(
    "/artifacts/<artifact_id>/content", summary="Download an artifact", responses={200: None, 206: None, 404: Problem}
)
def content(path: ArtifactPath, query: WhichVersion) -> Response:
    """Whole, or a range of it; its hash is its ETag."""
    row, state = _version(path.artifact_id, query.version)
    return send(services().blobs, state.sha256, state.size, row.name, state.media_type)


@api.get("/artifacts/<artifact_id>/preview", summary="Preview an artifact", responses={200: Preview, 404: Problem})
def preview(path: ArtifactPath, query: WhichVersion) -> dict[str, Any]:
    """The beginning of its text, or an image's measures; nothing for anything else."""
    return dict(_version(path.artifact_id, query.version)[1].preview)


@api.get(
    "/artifacts/<artifact_id>/similar",
    summary="Find artifacts like one",
    responses={200: SimilarArtifacts, 404: Problem},
)
def similar_artifacts(path: ArtifactPath, query: HowMany) -> dict[str, Any]:
    """By title and beginning, the most alike first."""
    return similar(path.artifact_id, query.limit)


@api.delete("/artifacts/<artifact_id>", summary="Delete an artifact", responses={204: None, 404: Problem})
def delete_artifact(path: ArtifactPath) -> tuple[str, int]:
    """With all its versions."""
    scope: AccountScope = g.scope
    services().database.run(lambda connection: artifacts.delete(connection, scope, path.artifact_id))
    return "", 204


def _version(artifact_id: UUID, number: int | None) -> tuple[artifacts.ArtifactRow, artifacts.VersionRow]:
    scope, database = g.scope, services().database
    row = database.read(lambda c: artifacts.get(c, scope, artifact_id))
    state = database.read(lambda c: artifacts.version(c, scope, artifact_id, number or row.version))
    return row, state
