"""Stream tickets: a browser can't send a key with a WebSocket, and a key has no place in an address."""

from typing import Any

from flask import g
from flask_openapi3.models.tag import Tag

from models.repositories import events, tickets
from models.repositories.tickets import NewTicket
from models.scope import AccountScope
from web.binding import Api
from web.schemas.common import Problem
from web.schemas.streams import CreateTicket, Ticket
from web.services import services

api = Api("tickets", __name__, url_prefix="/v1", abp_tags=[Tag(name="events")])


@api.post("/stream-tickets", summary="Make a ticket for one WebSocket", responses={201: Ticket, 404: Problem})
def create_ticket(body: CreateTicket) -> tuple[dict[str, Any], int]:
    """Open `/v1/tasks/{id}/stream?ticket=...` or `/v1/stream?ticket=...` with it, once, within seconds."""
    scope: AccountScope = g.scope
    held = services()
    pepper, ttl_s = held.settings.key_pepper.get_secret_value(), held.settings.ticket_ttl_s

    def create(connection: Any) -> NewTicket:
        if body.task_id is not None:
            events.head(connection, scope, body.task_id)
        return tickets.create(connection, scope, pepper, ttl_s, body.task_id)

    return held.database.run(create)._asdict(), 201
