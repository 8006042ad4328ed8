"""The catalogue of workflows."""

from functools import lru_cache
from typing import Any

from flask_openapi3.models.tag import Tag

from web.binding import Api
from web.schemas.workflows import WorkflowList
from worker.workflows import WORKFLOWS

api = Api("workflows", __name__, url_prefix="/v1", abp_tags=[Tag(name="workflows")])


@api.get("/workflows", summary="List workflows", responses={200: WorkflowList})
def list_workflows() -> dict[str, Any]:
    """Every workflow with the JSON schemas of its input and result."""
    return {"workflows": _catalogue()}


@lru_cache(maxsize=1)
def _catalogue() -> list[dict[str, Any]]:
    return [WORKFLOWS[name].describe() for name in sorted(WORKFLOWS)]
