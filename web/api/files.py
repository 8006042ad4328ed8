"""Files: upload, refer to, list, read and delete."""

from typing import Any
from uuid import UUID

from flask import Response, g
from flask_openapi3.models.tag import Tag

from models import media
from models.repositories import files, holdings
from models.repositories.files import NewFile
from models.scope import AccountScope
from web import paging
from web.binding import Api
from web.downloads import send
from web.schemas.common import Problem
from web.schemas.files import File, FileList, FilePath, ListFiles, ReferFile, StorageUse, file_json
from web.services import services
from web.uploads import uploaded

api = Api("files", __name__, url_prefix="/v1", abp_tags=[Tag(name="files")])
_PARTS = {
    "file": {"type": "string", "format": "binary"},
    "name": {"type": "string", "description": "Instead of the part's own file name."},
}
_MULTIPART = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": _PARTS}}},
    }
}


@api.post(
    "/files",
    summary="Upload a file",
    responses={201: File, 403: Problem, 413: Problem, 415: Problem, 422: Problem},
    openapi_extensions=_MULTIPART,
)
def upload() -> tuple[dict[str, Any], int, dict[str, str]]:
    """As the part `file` of multipart/form-data."""
    keeper, scope = services().keeper, g.scope
    with uploaded(services().blobs, services().settings.file_max_bytes) as given:
        new = NewFile(given.name, given.media_type, given.received.size, given.received.sha256)
        row = keeper.keep(scope, [given.received], lambda c: files.insert(c, scope, new, keeper.limits))
    return file_json(row), 201, {"Location": f"/v1/files/{row.id}"}


@api.post(
    "/files/by-hash",
    summary="Keep a file whose bytes the account has",
    responses={201: File, 403: Problem, 404: Problem, 422: Problem},
)
def refer(body: ReferFile) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Nothing is sent again. 404 if no file, artifact or project of the account has these bytes."""
    row = services().database.run(lambda connection: _refer(connection, g.scope, body))
    return file_json(row), 201, {"Location": f"/v1/files/{row.id}"}


def _refer(connection: Any, scope: AccountScope, body: ReferFile) -> files.FileRow:
    content = holdings.held(connection, scope, body.sha256)
    media_type = files.type_of(connection, scope, body.sha256) or media.UNKNOWN
    new = NewFile(body.name, media_type, content.size, content.sha256)
    return files.insert(connection, scope, new, services().keeper.limits)


@api.get("/files", summary="List files, newest first", responses={200: FileList, 400: Problem})
def list_files(query: ListFiles) -> dict[str, Any]:
    """One page; `next_cursor` leads to the next."""
    scope, before = g.scope, paging.decode(query.cursor)
    found = services().database.read(lambda c: files.list_files(c, scope, before, query.name, query.limit + 1))
    page = found[: query.limit]
    more = len(found) > query.limit
    return {"files": [file_json(row) for row in page], "next_cursor": paging.encode(page[-1].id) if more else None}


@api.get("/files/<file_id>", summary="Get a file's description", responses={200: File, 404: Problem})
def get_file(path: FilePath) -> dict[str, Any]:
    """Name, type, size, hash."""
    return file_json(_get(path.file_id))


@api.get("/files/<file_id>/content", summary="Download a file", responses={200: None, 206: None, 404: Problem})
def download(path: FilePath) -> Response:
    """Whole, or a range of it; its hash is its ETag."""
    row = _get(path.file_id)
    return send(services().blobs, row.sha256, row.size, row.name, row.media_type)


@api.delete("/files/<file_id>", summary="Delete a file", responses={204: None, 404: Problem})
def delete_file(path: FilePath) -> tuple[str, int]:
    """Its bytes go, too, unless something else of the account has the same."""
    scope: AccountScope = g.scope
    services().database.run(lambda connection: files.delete(connection, scope, path.file_id))
    return "", 204


@api.get("/storage", summary="What the account keeps", responses={200: StorageUse})
def storage() -> dict[str, Any]:
    """And what it may keep."""
    scope, settings = g.scope, services().settings
    used = services().database.read(lambda connection: holdings.usage(connection, scope))
    most = {"max_bytes": settings.storage_max_bytes, "max_files": settings.storage_max_files}
    return {**used._asdict(), **most, "max_file_bytes": settings.file_max_bytes}


def _get(file_id: UUID) -> files.FileRow:
    scope: AccountScope = g.scope
    return services().database.read(lambda connection: files.get(connection, scope, file_id))
