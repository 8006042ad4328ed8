"""The graph around a pattern: as JSON, and as a picture."""

from typing import Any

from flask import Response
from flask_openapi3.models.tag import Tag

from web.binding import Api
from web.pattern_graphs import around
from web.schemas.common import Problem
from web.schemas.pattern_graphs import HowFar, PatternGraph
from web.schemas.patterns import PatternPath
from worker.patterns.graph.picture import as_json, as_svg

api = Api("pattern_graphs", __name__, url_prefix="/v1", abp_tags=[Tag(name="patterns")])
SVG = "image/svg+xml"


@api.get("/patterns/<pattern_id>/graph", summary="What is near a pattern", responses={200: PatternGraph, 404: Problem})
def pattern_graph(path: PatternPath, query: HowFar) -> dict[str, Any]:
    """Tools it uses, what it solves, runs that showed it, and what is tied to those; of hubs the newest."""
    return as_json(around(path.pattern_id, query)[0])


@api.get(
    "/patterns/<pattern_id>/graph.svg",
    summary="What is near a pattern, as a picture",
    responses={200: {"content": {SVG: {"schema": {"type": "string"}}}, "description": "SVG"}, 404: Problem},
)
def pattern_picture(path: PatternPath, query: HowFar) -> Response:
    """Without script or style sheet; the same graph is the same picture."""
    return Response(as_svg(*around(path.pattern_id, query)), content_type=SVG)
