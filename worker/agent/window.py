"""Keeps a conversation within what the model can read: its older part is replaced by a summary the model makes.

A summary made before the call `model:N` is the step `summary:N`, a call of the model like any other, with its cost. The
step also records where the conversation was cut, so that a replay cuts it there again.
"""

from collections.abc import Sequence
from typing import Any

from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    RetryFeedbackPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.tools import RunContext as AgentContext

from models.tasks import StepStatus
from worker.agent.budget import CHARACTERS, characters_of, tokens_of
from worker.agent.durable import ModelSteps, text_in
from worker.agent.limits import Tally, text_of
from worker.context import RunContext
from worker.errors import StepFailed

#: Shares of the window: a conversation longer than FULL is cut to its newest messages, at most KEPT of it; a cut that
#: frees less than WORTH is not made. What is summarised is cut to READ, the summary to SUMMARY or
#: SUMMARY_MAX tokens.
FULL, KEPT, WORTH, READ, SUMMARY = 0.75, 0.3, 0.1, 0.6, 0.1
SUMMARY_MAX = 2000
#: Where a summary's step has the place of the cut.
CUT_KEY = "umbel_cut"
#: A piece of what is summarised is never cut shorter than this many characters.
PIECE_MIN = 200

INSTRUCTIONS = """Summarise this conversation for the one who carries on with it and sees nothing else of it. Keep the \
latest request word for word, and what was decided, found out, done with tools, and is still open; keep names, numbers \
and identifiers exactly. Give the summary only, in at most {words} words."""
_RECAP = "What was said before, in short:\n\n"


def recap(summary: str) -> ModelMessage:
    """Return the message that stands for what was summarised."""
    return ModelRequest(parts=[UserPromptPart(_RECAP + summary)])


class Window(AbstractCapability[Any]):
    """What the model is shown; where nobody knows the size of its window, that is taken to be `unknown` tokens.

    Attributes:
        covered: how many messages of the conversation, from its beginning, the summary stands for.
        summary: the newest one this run made.
        left_out: messages of this run that the model is not shown any more.
    """

    def __init__(
        self, ctx: RunContext, tally: Tally, steps: ModelSteps, model: Model, unknown: int, covered: int
    ) -> None:
        self.covered = covered
        self.summary: str | None = None
        self.left_out: list[ModelMessage] = []
        self._journal = ctx.journal
        self._tally = tally
        self._steps = steps
        self._model = model
        self._size = model.context_window or unknown
        self._longest = min(int(self._size * SUMMARY), SUMMARY_MAX)

    async def before_model_request(self, ctx: AgentContext[Any], request_context: Any) -> Any:
        """Summarise the older part if the conversation has become too long."""
        messages: list[ModelMessage] = list(request_context.messages)
        number = self._tally.number
        cut = self._cut(number, messages, request_context.model_request_parameters)
        if cut is None:
            return request_context
        answer = await self._summarise(number, messages[:cut], cut)
        cut = int(answer["metadata"][CUT_KEY])
        self._leave_out(messages[:cut], ctx.run_id)
        self.summary = text_of(answer)[: self._longest * CHARACTERS * 2]
        shown = [recap(self.summary), *messages[cut:]]
        request_context.messages = shown.copy()
        ctx.messages[:] = shown
        return request_context

    def _cut(self, number: int, messages: list[ModelMessage], parameters: ModelRequestParameters) -> int | None:
        made, answered = (self._journal.recorded(f"{kind}:{number}") for kind in ("summary", "model"))
        if made is not None and made.status == StepStatus.COMPLETED:
            return int(made.result["metadata"][CUT_KEY])
        if answered is not None and answered.status == StepStatus.COMPLETED:
            return None  # that call was made with the whole conversation
        # First what costs least: in most conversations there is nothing worth leaving out.
        if characters_of(messages) < self._size * WORTH * CHARACTERS:
            return None
        if tokens_of(messages, parameters) <= self._size * FULL:
            return None
        return place_to_cut(messages, self._size)

    async def _summarise(self, number: int, older: list[ModelMessage], cut: int) -> dict[str, Any]:
        instructions = INSTRUCTIONS.format(words=self._longest // 2)
        asked = ModelRequest(parts=[UserPromptPart(transcript(older, self._size))], instructions=instructions)

        async def ask() -> dict[str, Any]:
            async with model_request_stream(self._model, [asked]) as stream:
                async for event in stream:
                    self._steps.said(text_in(event))
                given = stream.get()
            (answer,) = ModelMessagesTypeAdapter.dump_python([given], mode="json")
            if not text_of(answer).strip():
                raise StepFailed("the model gave no summary of a long conversation", code="model_misbehaved")
            return {**answer, "metadata": {**(answer.get("metadata") or {}), CUT_KEY: cut}}

        return await self._steps.aside(f"summary:{number}", self._model.model_name, ask)

    def _leave_out(self, messages: list[ModelMessage], run_id: str | None) -> None:
        if self.covered:  # the first is the summary before this one
            messages = messages[1:]
        self.covered += len(messages)
        self.left_out += [message for message in messages if message.run_id == run_id]


def place_to_cut(messages: Sequence[ModelMessage], size: int) -> int | None:
    """Return the index of the first message to keep, of a conversation too long for a window of `size` tokens.

    Results of tools are never parted from their calls. None if no cut frees enough.
    """
    sizes = [characters_of([message]) // CHARACTERS for message in messages]
    places = [place for place in range(1, len(messages)) if not _answers_calls(messages[place])]
    fitting = [place for place in places if sum(sizes[place:]) <= size * KEPT]
    chosen = next(iter(fitting), places[-1] if places else None)
    if chosen is None or sum(sizes[:chosen]) < size * WORTH:
        return None
    return chosen


def transcript(messages: Sequence[ModelMessage], size: int) -> str:
    """Return messages as text to be summarised, pieces cut so that all of it fits a window of `size` tokens."""
    pieces = [piece for message in messages for part in message.parts if (piece := _said(part))]
    longest = int(size * READ * CHARACTERS)
    room = max(longest // max(len(pieces), 1), PIECE_MIN)
    return "\n\n".join(piece if len(piece) <= room else piece[:room] + " …" for piece in pieces)[-longest:]


def _said(part: Any) -> str:
    match part:
        case UserPromptPart():
            return f"User: {part.content}"
        case TextPart():
            return f"Assistant: {part.content}"
        case ToolCallPart():
            return f"Assistant called {part.tool_name}: {part.args_as_json_str()}"
        case ToolReturnPart():
            return f"{part.tool_name} gave: {part.model_response_str()}"
        case ThinkingPart():
            return ""
    return f"Note: {part.content}" if getattr(part, "content", None) else ""


def _answers_calls(message: ModelMessage) -> bool:
    kinds = (ToolReturnPart, RetryFeedbackPart)
    return isinstance(message, ModelRequest) and any(isinstance(part, kinds) for part in message.parts)
