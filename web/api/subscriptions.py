"""The conversation on a many-task stream: what the client asks, and what it is answered."""

import json
import logging
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from models.errors import ModelError
from models.repositories import events
from models.scope import AccountScope
from web.errors import BadRequest, Invalid, NotFound, WebError, describe
from web.explain import explain
from web.json import dumps
from web.schemas.common import Strict
from web.schemas.streams import MESSAGE, Subscribe, Unsubscribe
from web.services import Services
from web.stream import Reader

SUBSCRIPTIONS_MAX = 1000

log = logging.getLogger(__name__)


class Conversation:
    """Answers one client; anything it gets wrong is answered by an error frame and the socket stays open."""

    def __init__(
        self, held: Services, reader: Reader, scope: AccountScope, only_task: UUID | None, request_id: str
    ) -> None:
        self._held = held
        self._request_id = request_id
        self._reader = reader
        self._scope = scope
        self._only_task = only_task

    def answer(self, text: str) -> str:
        """Do what a message asks and return the answer."""
        try:
            return dumps(self._do(text))
        except (WebError, ModelError) as error:
            return self._refusal(error)
        except Exception as error:
            log.exception("a stream message failed", extra={"request_id": self._request_id})
            return self._refusal(error)

    def _refusal(self, error: Exception) -> str:
        return dumps({"type": "error", "error": describe(error) | {"request_id": self._request_id}})

    def _do(self, text: str) -> dict[str, Any]:
        message = _parse(text)
        if isinstance(message, Subscribe):
            return self._subscribe(message)
        if isinstance(message, Unsubscribe):
            self._reader.unwatch(message.task_id)
            return {"type": "unsubscribed", "task_id": message.task_id}
        return {"type": "pong"}

    def _subscribe(self, message: Subscribe) -> dict[str, Any]:
        scope, task_id = self._scope, message.task_id
        if self._only_task not in {None, task_id}:
            raise NotFound
        known = self._reader.subscriptions
        if task_id not in known and len(known) >= SUBSCRIPTIONS_MAX:
            raise Invalid(f"One socket follows at most {SUBSCRIPTIONS_MAX} tasks; unsubscribe from some first.")
        last_seq, _ = self._held.database.read(lambda connection: events.head(connection, scope, task_id))
        self._reader.watch(scope, task_id, message.after, message.offsets)
        return {"type": "subscribed", "task_id": task_id, "after": message.after, "last_seq": last_seq}


def _parse(text: str) -> Any:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The message is not JSON.") from error
    try:
        return MESSAGE.validate_python(given)
    except ValidationError as error:
        raise Invalid(fields=explain(error, Strict)) from error
