"""The indexes over the record of patterns: how they stand, and to have one built anew. For whoever runs the system."""

from typing import Any

from flask import g
from flask_openapi3.models.tag import Tag

from models.patterns import Consumer
from models.repositories import index_builds, pattern_outbox
from models.repositories.accounts import OPERATIONS_SCOPE
from models.scope import OPERATIONS
from web.binding import Api
from web.errors import OperationsOnly
from web.schemas.common import Problem
from web.schemas.indexes import IndexBuild, Indexes, IndexPath, build_json, index_json
from web.services import services

api = Api("indexes", __name__, url_prefix="/v1", abp_tags=[Tag(name="patterns")])


@api.get("/indexes", summary="How the indexes of patterns stand", responses={200: Indexes, 403: Problem})
def indexes() -> dict[str, Any]:
    """What each has not been told yet, and its newest build. Needs a key with the scope `operations`."""
    _operators_only()
    waiting = services().database.read(lambda connection: pattern_outbox.waiting(connection, OPERATIONS))
    builds = services().database.read(lambda connection: index_builds.newest(connection, OPERATIONS))
    return {"indexes": [index_json(each, waiting.get(each), builds.get(each)) for each in Consumer]}


@api.post(
    "/indexes/<index>/build",
    summary="Build an index anew from the record",
    responses={202: IndexBuild, 403: Problem, 404: Problem},
)
def build_index(path: IndexPath) -> tuple[dict[str, Any], int]:
    """A worker does so within seconds, beside the index in use; the build that is open already is the answer."""
    _operators_only()
    build = services().database.run(lambda connection: index_builds.ask(connection, OPERATIONS, path.index))
    return build_json(build), 202


def _operators_only() -> None:
    if OPERATIONS_SCOPE not in g.key_scopes:
        raise OperationsOnly
