"""Tools agents may use: those every worker has, and HTTP tools an account has made."""

import json
from functools import lru_cache
from typing import Any

from flask import g
from flask_openapi3.models.tag import Tag

from models.repositories import http_tools
from models.scope import AccountScope
from web.binding import Api
from web.importing import imported
from web.schemas.common import Problem
from web.schemas.tools import Import, ImportTools, ListTools, PutTool, PutToolQuery, Tool, ToolList, ToolPath, tool_json
from web.services import services
from web.tools import Putting, put
from worker.tools import CATALOGUE

api = Api("tools", __name__, url_prefix="/v1", abp_tags=[Tag(name="tools")])


@api.put("/tools/<tool_name>", summary="Create or replace an HTTP tool", responses={200: Tool, 409: Problem})
def put_tool(path: ToolPath, query: PutToolQuery, body: PutTool) -> dict[str, Any]:
    """Tasks under way keep the definition they began with."""
    given = "secret" in body.model_fields_set
    (row,) = put([Putting(path.tool_name, body.definition(), body.secret, given=given)], query.version)
    return tool_json(row)


@api.post("/tools/import", summary="Make tools of an OpenAPI document", responses={200: Import, 422: Problem})
def import_tools(body: ImportTools) -> dict[str, Any]:
    """All operations that can be taken, or none; `refused` says which can't, and why."""
    return imported(body)


@api.get("/tools/<tool_name>", summary="Get an HTTP tool", responses={200: Tool, 404: Problem})
def get_tool(path: ToolPath) -> dict[str, Any]:
    """Its definition as it is now; its secret is not shown."""
    scope: AccountScope = g.scope
    return tool_json(services().database.read(lambda connection: http_tools.get(connection, scope, path.tool_name)))


@api.get("/tools", summary="List tools", responses={200: ToolList})
def list_tools(query: ListTools) -> dict[str, Any]:
    """Those every worker has, and the account's own in order of name; `next` leads to the next page."""
    scope: AccountScope = g.scope
    found = services().database.read(
        lambda connection: http_tools.list_tools(connection, scope, query.after, query.limit + 1)
    )
    page = [tool_json(row) for row in found[: query.limit]]
    return {"built_in": _built_in(), "tools": page, "next": page[-1]["name"] if len(found) > len(page) else None}


@api.delete("/tools/<tool_name>", summary="Delete an HTTP tool", responses={204: None, 404: Problem})
def delete_tool(path: ToolPath) -> tuple[str, int]:
    """Its secret is gone with it; calls of tasks under way fail with `tool_changed`."""
    scope: AccountScope = g.scope
    services().database.run(lambda connection: http_tools.delete(connection, scope, path.tool_name))
    return "", 204


@lru_cache(maxsize=1)
def _built_in() -> list[dict[str, Any]]:
    return list(json.loads(CATALOGUE.read_text(encoding="utf-8")))
