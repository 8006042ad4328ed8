"""Events of one task: as a list, or as server-sent events."""

from typing import Any

from flask import Response, g, request
from flask_openapi3.models.tag import Tag

from models.repositories import events
from models.scope import AccountScope
from web import sse
from web.binding import Api
from web.schemas.common import Problem, TaskPath
from web.schemas.events import EventList, ListEvents
from web.services import services

api = Api("events", __name__, url_prefix="/v1", abp_tags=[Tag(name="events")])


@api.get("/tasks/<task_id>/events", summary="Events after a number", responses={200: EventList, 404: Problem})
def list_events(path: TaskPath, query: ListEvents) -> dict[str, Any] | Response:
    """JSON; with `Accept: text/event-stream` a stream that ends after the last event of the run."""
    scope: AccountScope = g.scope
    if request.accept_mimetypes.best_match(["application/json", sse.MEDIA_TYPE]) == sse.MEDIA_TYPE:
        return sse.respond(services(), scope, path.task_id, sse.last_event_id(query.after))
    page = services().database.read(
        lambda connection: events.after(connection, scope, path.task_id, query.after, query.limit)
    )
    return {"events": page.frames, "last_seq": page.last_seq}
