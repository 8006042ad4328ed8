"""Single questions to a model, for workflows that are no agents: each is a step with its cost, streamed as it comes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models import Model

from worker.agent.budget import Budget, BudgetedModel
from worker.agent.clock import Clock
from worker.agent.durable import ModelSteps, text_in
from worker.agent.limits import Limits, Tally, text_of
from worker.context import RunContext
from worker.errors import StepFailed


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer, on which another question follows."""

    asked: str
    answered: str


class Questions:
    """What a run asks a model, and what that took.

    Attributes:
        window: tokens the model reads at most, question and answer together.
    """

    def __init__(self, tally: Tally, steps: ModelSteps, model: Model, window: int) -> None:
        self.window = window
        self._tally = tally
        self._steps = steps
        self._model = model

    @classmethod
    async def of(cls, ctx: RunContext, model: Model, window: int, limits: Limits | None = None) -> "Questions":
        """Return them for one attempt of a run.

        Args:
            ctx: the run.
            model: who is asked.
            window: taken to be the model's where nobody knows the size of its own.
            limits: what may be used; of `Limits` by default.
        """
        tally = Tally(limits or Limits())
        budget = Budget(tally)
        steps = ModelSteps(ctx, tally, budget, await Clock.of(ctx, tally))
        return cls(tally, steps, BudgetedModel(model, budget), model.context_window or window)

    async def ask(self, key: str, instructions: str, question: str, before: Sequence[Exchange] = ()) -> str:
        """Ask, and return the answer's text; once, however often the run is repeated.

        Args:
            key: the step's, unique in the run.
            instructions: how to answer.
            question: what is asked.
            before: what was asked and answered before, in order.

        Raises:
            StepFailed: `limit_exceeded`, `model_misbehaved` if the answer has no text, or the model's own error.
        """
        messages: list[ModelMessage] = []
        for each in before:
            messages.append(ModelRequest(parts=[UserPromptPart(each.asked)]))
            messages.append(ModelResponse(parts=[TextPart(each.answered)]))
        messages.append(ModelRequest(parts=[UserPromptPart(question)], instructions=instructions))

        async def body() -> dict[str, Any]:
            async with model_request_stream(self._model, messages) as stream:
                async for event in stream:
                    self._steps.said(text_in(event))
                (answer,) = ModelMessagesTypeAdapter.dump_python([stream.get()], mode="json")
            if not text_of(answer).strip():
                raise StepFailed("the model gave an empty answer", code="model_misbehaved", retryable=True)
            return dict(answer)

        return text_of(await self._steps.aside(key, self._model.model_name, body))

    def so_far(self) -> dict[str, Any]:
        """Return what was used: `model`, `usage`, `steps`, `tool_calls`, `synthetic`."""
        return self._tally.so_far()
