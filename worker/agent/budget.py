"""What a run may still spend, set aside before each call of the model and watched while it speaks.

Nothing here is asked on a replay: recorded answers are counted by `worker.agent.limits`. Before a call the tokens
of what is sent are estimated, and the rest of the limit becomes the longest answer the provider is allowed to give.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, cast

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelRequest, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext as AgentContext

from config import telemetry
from worker.agent.limits import Tally
from worker.errors import StepFailed
from worker.llm.hub import ChainModel

#: Characters in a token, on average; only estimates rest on it.
CHARACTERS = 4
#: An answer shorter than this is not worth a call; some providers refuse to give less.
ANSWER_MIN = 16
#: Small models refuse to be asked for longer answers than they can give; beyond this only the stream is watched.
ANSWER_ASKED_MAX = 8192
#: A provider that gives more than it was allowed is cut off this much beyond.
LENIENCE = 1.2


class Budget:
    """The rest of a run's limits of tokens and USD."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._longest: float | None = None
        self._heard = 0

    def reserve(
        self,
        model: Model,
        messages: list[ModelMessage],
        settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> ModelSettings | None:
        """Return the settings of a call, with the longest answer that still fits the limits.

        Raises:
            StepFailed: `limit_exceeded`: what is sent alone would pass a limit; `limit_unpriced`: no price.
        """
        self._longest, self._heard = None, 0
        limits = self._tally.limits
        if limits.tokens is None and limits.usd is None:
            return settings
        sent = tokens_of(messages, parameters)
        longest = min(self._by_tokens(sent), self._by_usd(model, sent), (settings or {}).get("max_tokens") or 10**9)
        self._longest = longest * CHARACTERS * LENIENCE
        if longest > ANSWER_ASKED_MAX:
            return settings
        return cast(ModelSettings, {**(settings or {}), "max_tokens": int(longest)})

    def _by_tokens(self, sent: int) -> int:
        allowed = self._tally.limits.tokens
        if allowed is None:
            return 10**9
        left = allowed - self._tally.tokens - sent
        if left < ANSWER_MIN:
            raise self._tally.exceeded("max_tokens", allowed, self._tally.tokens + sent + ANSWER_MIN)
        return left

    def _by_usd(self, model: Model, sent: int) -> int:
        allowed = self._tally.limits.usd
        if allowed is None:
            return 10**9
        asking, speaking = _price(model, sent, 0), _price(model, 0, 10**6)
        left = allowed - self._tally.all_usd - asking
        if left < speaking * ANSWER_MIN / 10**6:
            needed = self._tally.all_usd + asking + speaking * ANSWER_MIN / 10**6
            raise self._tally.exceeded("max_usd", allowed, needed)
        return int(left * 10**6 / speaking) if speaking else 10**9

    def heard(self, piece: str) -> None:
        """Count a piece of the answer.

        Raises:
            StepFailed: `limit_exceeded`: the answer is longer than was allowed; the stream is closed.
        """
        self._heard += len(piece)
        if self._longest is not None and self._heard > self._longest:
            allowed = int(self._longest / LENIENCE / CHARACTERS)
            raise self._tally.exceeded("max_output", allowed, self._heard // CHARACTERS)


class BudgetedModel(WrapperModel):
    """A model that is asked only for what the run may still spend."""

    def __init__(self, wrapped: Model, budget: Budget) -> None:
        super().__init__(wrapped)
        self._budget = budget

    async def request(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> ModelResponse:
        """Ask for a whole answer."""
        settings = self._budget.reserve(self.wrapped, messages, model_settings, parameters)
        return await super().request(messages, settings, parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: AgentContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Ask for a streamed answer."""
        settings = self._budget.reserve(self.wrapped, messages, model_settings, model_request_parameters)
        telemetry.content("gen_ai.input.messages", lambda: _told(messages))
        async with super().request_stream(messages, settings, model_request_parameters, run_context) as response:
            yield response


def tokens_of(messages: list[ModelMessage], parameters: ModelRequestParameters) -> int:
    """Estimate how many tokens a call sends: its messages, with the newest instructions, and its tools' definitions."""
    tools = (*parameters.function_tools, *parameters.output_tools)
    schemas = sum(len(json.dumps(tool.parameters_json_schema)) + len(tool.description or "") for tool in tools)
    return (
        characters_of(messages[:-1]) + len(ModelMessagesTypeAdapter.dump_json(messages[-1:])) + schemas
    ) // CHARACTERS


def characters_of(messages: Sequence[ModelMessage]) -> int:
    """Return how long messages are, without the instructions each was sent with: only the newest are sent."""
    repeated = sum(len(each.instructions or "") for each in messages if isinstance(each, ModelRequest))
    return len(ModelMessagesTypeAdapter.dump_json(list(messages))) - repeated


def _told(messages: list[ModelMessage]) -> Any:
    from pydantic_ai.models.instrumented import InstrumentationSettings

    return InstrumentationSettings(include_binary_content=False).messages_to_otel_messages(messages)


def _price(model: Model, sent: int, answered: int) -> Decimal:
    found = model.price(sent, answered) if isinstance(model, ChainModel) else None
    if found is None:
        cure = "give it `prices` in UMBEL_PROVIDERS, or leave max_usd out"
        message = f"the task has a limit in USD, and nobody knows the price of {model.model_name}; {cure}"
        raise StepFailed(message, code="limit_unpriced", model=model.model_name)
    return found
