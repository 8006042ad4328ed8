"""Answers kept for identical calls: of one account, of one model, of the same messages, tools and settings.

Off unless the settings say for how long, and only for calls with temperature 0, whose answers are meant to be the
same. Kept in Redis; without it each call is made.
"""

import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    ModelResponseStreamEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from pydantic_ai.models import CompletedStreamedResponse, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RequestUsage
from pydantic_core import to_json

from config.settings import Settings
from models import notices
from worker.llm import costs, record
from worker.llm.board import Board
from worker.llm.providers import Kind
from worker.llm.record import Attempt
from worker.llm.serving import Serving

#: What differs between two messages that say the same.
_PASSING = ("timestamp", "run_id", "conversation_id", "usage", "metadata")
#: How an answer ends that is one.
_WHOLE = ("stop", "tool_call")

log = logging.getLogger(__name__)


class AnswerCache:
    """The answers kept in Redis."""

    def __init__(self, settings: Settings, board: Board) -> None:
        self.on = settings.model_cache_s > 0
        self._seconds = settings.model_cache_s
        self._most = settings.model_cache_max_bytes
        self._board = board

    async def find(self, place: str) -> ModelResponse | None:
        """Return the answer kept there, as one that used nothing."""
        kept = await self._board.fetch(place)
        if kept is None:
            return None
        try:
            (answer,) = ModelMessagesTypeAdapter.validate_json(kept)
        except (ValidationError, ValueError):
            log.warning("a kept answer can't be read")
            return None
        assert isinstance(answer, ModelResponse)
        answer.usage = RequestUsage()
        return answer

    def keep(self, place: str, answer: ModelResponse) -> None:
        """Keep an answer, unless it is cut short or too large."""
        known = all(isinstance(part, TextPart | ThinkingPart | ToolCallPart) for part in answer.parts)
        if answer.finish_reason not in _WHOLE or not known:
            return
        raw = ModelMessagesTypeAdapter.dump_json([answer])
        if len(raw) <= self._most:
            self._board.keep(place, raw, self._seconds)


class CachedModel(WrapperModel):
    """A model whose answers are kept for identical calls."""

    def __init__(self, serving: Serving, cache: AnswerCache) -> None:
        super().__init__(serving)
        self.ref = serving.ref
        self._cache = cache

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the answer that is kept, or ask."""
        place = self._place(messages, model_settings, model_request_parameters)
        if place and (found := await self._found(place)):
            return found
        answer = await super().request(messages, model_settings, model_request_parameters)
        if place:
            self._cache.keep(place, answer)
        return answer

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Hand over the answer that is kept, in one piece, or one that begins."""
        place = self._place(messages, model_settings, model_request_parameters)
        if place and (found := await self._found(place)):
            yield CompletedStreamedResponse(
                found, model_request_parameters=model_request_parameters, replay_events=_events(found)
            )
            return
        async with super().request_stream(messages, model_settings, model_request_parameters, run_context) as stream:
            yield stream
            if place and not stream.cancelled:
                self._cache.keep(place, stream.get())

    async def _found(self, place: str) -> ModelResponse | None:
        found = await self._cache.find(place)
        if found is not None:
            record.note(Attempt(self.ref.provider.name, self.ref.model, None, "answered", None, 0.0))
            record.note_cached(costs.tokens(found.usage), costs.FROM_CACHE)
        return found

    def _place(
        self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> str | None:
        """Return where the answer of this call would be; None for a call whose answers are not kept."""
        book = record.current()
        given: dict[str, Any] = dict(settings or {})
        if book is None or not book.account or given.get("temperature") != 0 or self.ref.provider.kind is Kind.OFFLINE:
            return None
        said = [_bare(each) for each in ModelMessagesTypeAdapter.dump_python(messages, mode="json")]
        call = (book.account, self.ref.name, self.ref.provider.base_url, said, sorted(given.items()), parameters)
        digest = hashlib.sha256(to_json(call, fallback=repr)).hexdigest()
        return f"{notices.ANSWERS}{book.account}:{digest}"


def _bare(message: dict[str, Any]) -> dict[str, Any]:
    parts = [{name: value for name, value in part.items() if name not in _PASSING} for part in message["parts"]]
    return {name: value for name, value in message.items() if name not in _PASSING} | {"parts": parts}


def _events(answer: ModelResponse) -> list[ModelResponseStreamEvent]:
    told: list[ModelResponseStreamEvent] = []
    for index, part in enumerate(answer.parts):
        assert isinstance(part, TextPart | ThinkingPart | ToolCallPart)
        told += [PartStartEvent(index=index, part=part), PartEndEvent(index=index, part=part)]
    return told
