"""What a call comes to: an answer, an error, or a question of the server's."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp_types import InputRequiredResult
from pydantic import ValidationError

from models.tasks import Effect
from worker.mcp import errors
from worker.mcp.answers import Answer, normal
from worker.mcp.calls import Given, Request
from worker.mcp.config import Server
from worker.tools.redact import redact


@contextmanager
def questions(request: Request, server: Server) -> Iterator[None]:
    """Make a call during which the server asked one that ends with its question, if it may be made again.

    Raises:
        InputRequired: the server asked.
        ToolFailed: the answers given are none the protocol has.
    """
    try:
        if request.resumed is not None:
            request.resumed.typed()
    except ValidationError:
        raise errors.ToolFailed(f"{request.name} can't be given such answers; answer with plain values") from None
    repeatable = server.effect_of(request.tool) is not Effect.UNSAFE
    try:
        yield
    except errors.ToolFailed:
        if not (request.asked and repeatable):
            raise
    if request.asked and repeatable:
        raise _required(request, request.asked, None, server.secrets)


def answered(request: Request, given: Given, secrets: tuple[str, ...]) -> Answer:
    """Return the server's answer in our shape.

    Raises:
        InputRequired: it is a question.
        ToolFailed: it is an error of the tool.
    """
    if isinstance(given, InputRequiredResult):
        asked = given.model_dump(mode="json", by_alias=True, exclude_none=True).get("inputRequests") or {}
        raise _required(request, asked, given.request_state, secrets)
    answer = normal(given)
    if answer.failed:
        told = answer.text or json.dumps(answer.data)
        raise errors.ToolFailed(f"{request.name} failed: {redact(told, secrets)[:4000]}")
    return answer if not secrets else _without(answer, secrets)


def _required(
    request: Request, asked: dict[str, Any], state: str | None, secrets: tuple[str, ...]
) -> errors.InputRequired:
    message = f"{request.name} needs an answer to {len(asked)} question(s) before it goes on"
    return errors.InputRequired(message, redact(asked, secrets), state)


def _without(answer: Answer, secrets: tuple[str, ...]) -> Answer:
    parts = [redact(part, secrets) if part.get("text") else part for part in answer.parts]
    return Answer(parts, redact(answer.data, secrets), answer.failed, answer.truncated)
