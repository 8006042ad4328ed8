"""What an account has used."""

from typing import Any

from flask import g
from flask_openapi3.models.tag import Tag

from models.repositories import spending
from models.scope import AccountScope
from web.binding import Api
from web.schemas.common import Problem
from web.schemas.usage import AccountUsage, AskUsage, usage_json
from web.services import services

api = Api("usage", __name__, url_prefix="/v1", abp_tags=[Tag(name="usage")])


@api.get("/usage", summary="What the account has used", responses={200: AccountUsage, 400: Problem})
def usage(query: AskUsage) -> dict[str, Any]:
    """Tokens, calls and USD of its tasks, in all and by workflow."""
    scope: AccountScope = g.scope
    return usage_json(services().database.read(lambda c: spending.spent(c, scope, query.since, query.until)))
