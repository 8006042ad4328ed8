"""Asks models as the agent loop does: whole, or streamed."""

from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

PARAMETERS = ModelRequestParameters()
TOOL = ToolDefinition(
    name="look_up",
    description="Looks up.",
    parameters_json_schema={"type": "object", "properties": {"q": {"type": "string"}}},
)
WITH_TOOL = ModelRequestParameters(function_tools=[TOOL])


def prompt(text: str = "hello") -> list[ModelMessage]:
    return [ModelRequest(parts=[UserPromptPart(text)], instructions="be brief")]


async def whole(model: Model, parameters: ModelRequestParameters = PARAMETERS) -> ModelResponse:
    return await model.request(prompt(), None, parameters)


async def streamed(
    model: Model, heard: list[str] | None = None, parameters: ModelRequestParameters = PARAMETERS
) -> ModelResponse:
    heard = heard if heard is not None else []
    async with model.request_stream(prompt(), None, parameters) as stream:
        async for event in stream:
            if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                heard.append(event.part.content)
            if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                heard.append(event.delta.content_delta)
    return stream.get()


ASK: dict[str, Any] = {"whole": whole, "streamed": streamed}
