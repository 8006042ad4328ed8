"""Messages to a task under way."""

from typing import Any

from flask import g
from flask_openapi3.models.tag import Tag

from models.repositories import messages
from models.scope import AccountScope
from tasks import dispatch
from web.binding import Api
from web.schemas.common import Problem, TaskPath
from web.schemas.messages import ListMessages, Message, MessageList, Say, message_json
from web.services import services
from web.submit import idempotency_key
from worker.workflows import WORKFLOWS

api = Api("messages", __name__, url_prefix="/v1", abp_tags=[Tag(name="tasks")])
TAKING = frozenset(name for name, workflow in WORKFLOWS.items() if workflow.steerable)


@api.post(
    "/tasks/<task_id>/messages",
    summary="Tell the agent something while it works",
    responses={202: Message, 404: Problem, 409: Problem, 422: Problem},
)
def say(path: TaskPath, body: Say) -> tuple[dict[str, Any], int]:
    """It is given to the model before its next call; if it would have ended with that, it goes on."""
    scope: AccountScope = g.scope
    key = idempotency_key()
    message, asked = services().database.run(
        lambda connection: messages.add(connection, scope, path.task_id, body.text, TAKING, key)
    )
    if asked.held:
        dispatch.notify(asked.run_id)
    return message_json(message, scope.account_id), 202


@api.get("/tasks/<task_id>/messages", summary="List messages to a task", responses={200: MessageList, 404: Problem})
def list_messages(path: TaskPath, query: ListMessages) -> dict[str, Any]:
    """In order; each tells whether it was taken, and by which step."""
    scope: AccountScope = g.scope
    found = services().database.read(
        lambda connection: messages.list_messages(connection, scope, path.task_id, query.after, query.limit + 1)
    )
    page = found[: query.limit]
    shown = [message_json(row, scope.account_id) for row in page]
    return {"messages": shown, "next": page[-1].number if len(found) > len(page) else None}
