"""WebSockets: one task on a socket, or many; and tickets to open them from a browser.

Everything that can be refused is refused before the upgrade, as an ordinary HTTP answer.
"""

import contextlib
from uuid import UUID

from flask import Blueprint, g, request
from pydantic import ValidationError

from models.repositories import events
from models.scope import AccountScope
from web.api.subscriptions import Conversation
from web.errors import BadRequest, NotFound
from web.explain import explain
from web.schemas.common import TaskPath
from web.schemas.events import StreamQuery, parse_offsets
from web.services import services
from web.sockets import Taken, check_origin, upgrade

blueprint = Blueprint("streams", __name__, url_prefix="/v1")


@blueprint.get("/tasks/<task_id>/stream", websocket=True)
def task_stream(task_id: str) -> Taken:
    """Send one task's frames from `after` on, and close after the last event of its run."""
    g.reader.watch(g.scope, UUID(task_id), g.start.after, g.offsets)
    return upgrade(g.leaving, g.reader, services().settings.heartbeat_s, _ignore, ends=True)


@blueprint.get("/stream", websocket=True)
def account_stream() -> Taken:
    """Send the frames of the tasks the client subscribes to."""
    conversation = Conversation(services(), g.reader, g.scope, g.only_task, g.request_id)
    return upgrade(g.leaving, g.reader, services().settings.heartbeat_s, conversation.answer, ends=False)


@blueprint.before_request
def admit() -> None:
    """Check origin, task, start and room before the upgrade.

    Raises:
        Forbidden: another site's page asks.
        NotFound: the task is malformed, unknown or somebody else's.
        BadRequest: `after` or `offsets` is malformed.
        models.errors.Unavailable: PostgreSQL can't say.
        models.errors.NoFreePlace: the process has no place left.
    """
    held = services()
    check_origin(held.settings)
    values = request.view_args or {}
    if "task_id" in values:
        _check_task(g.scope, values["task_id"])
        g.start = _start()
    g.leaving = contextlib.ExitStack()
    g.reader = g.leaving.enter_context(held.reader())


@blueprint.teardown_request
def leave(_: BaseException | None) -> None:
    """Give the place back."""
    if "leaving" in g:
        g.leaving.close()


def _check_task(scope: AccountScope, text: str) -> None:
    try:
        task_id = TaskPath.model_validate({"task_id": text}).task_id
    except ValidationError as error:
        raise NotFound from error
    if g.only_task not in {None, task_id}:
        raise NotFound
    services().database.read(lambda connection: events.head(connection, scope, task_id))


def _ignore(message: str) -> None:
    """A socket of one task has nothing to be told."""


def _start() -> StreamQuery:
    try:
        start = StreamQuery.model_validate(request.args.to_dict())
        g.offsets = parse_offsets(start.offsets)
    except ValidationError as error:
        raise BadRequest("A query parameter is wrong; see `errors`.", explain(error, StreamQuery)) from error
    except ValueError as error:
        wrong = {"field": "offsets", "message": str(error)}
        raise BadRequest("A query parameter is wrong; see `errors`.", [wrong]) from error
    return start
