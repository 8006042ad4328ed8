"""The provider `offline`: plays a scenario file instead of asking a model, and says so in everything it gives.

The file is a JSON list of turns. The first turn that fits the conversation is played:

    [
      {"when": {"contains": "weather"}, "call": {"tool": "http_request", "args": {"url": "https://…"}}},
      {"when": {"tool_result": "http_request"}, "say": "It rains."},
      {"say": "I have no lines for that."}
    ]

`when.contains` must be part of the last prompt; `when.tool_result` names a tool whose result has just come. Right
after a tool's result only turns that wait for one fit, and turns without `when`, which always fit.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RequestUsage

from worker.llm.errors import ScenarioInvalid
from worker.llm.providers import OFFLINE

SIZE_MAX = 1024 * 1024


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class When(_Strict):
    """What the conversation must look like."""

    contains: str | None = None
    tool_result: str | None = None


class Call(_Strict):
    """A tool to call."""

    tool: str
    args: dict[str, Any] = {}


class Turn(_Strict):
    """One thing to say or call, and when."""

    when: When = When()
    say: str | None = None
    call: Call | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Turn":
        if (self.say is None) == (self.call is None):
            raise ValueError("a turn has exactly one of say, call")
        return self

    def fits(self, prompt: str, results: frozenset[str]) -> bool:
        """Whether the turn is for a conversation with this last prompt, and results of these tools at its end."""
        said, result = self.when.contains, self.when.tool_result
        if said is None and result is None:
            return True
        waited_for = result in results if result is not None else not results
        return waited_for and (said is None or said in prompt)


Scenario = Annotated[list[Turn], Field(min_length=1, max_length=1000)]
_SCENARIO: TypeAdapter[list[Turn]] = TypeAdapter(Scenario)


@cache
def scenario(path: str) -> tuple[Turn, ...]:
    """Read a scenario file, once.

    Raises:
        ScenarioInvalid: there is none, or it is not what the format asks for.
    """
    if not path:
        raise ScenarioInvalid("set UMBEL_OFFLINE_SCENARIO to the file the provider offline should play")
    try:
        with Path(path).open("rb") as file:
            return tuple(_SCENARIO.validate_python(json.loads(file.read(SIZE_MAX + 1))))
    except OSError as error:
        raise ScenarioInvalid(f"the offline scenario can't be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(each) for each in first["loc"])
        raise ScenarioInvalid(f"the offline scenario is malformed at {at}: {first['msg']}") from None
    except ValueError:
        raise ScenarioInvalid(f"the offline scenario is not JSON, or longer than {SIZE_MAX} bytes") from None


class OfflineModel(Model):
    """Plays a scenario; what it gives is no model's work and carries the provider's name `offline`."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__()
        self._name = name
        self._path = path

    @property
    def model_name(self) -> str:
        """The name after `offline:`."""
        return self._name

    @property
    def system(self) -> str:
        """The provider's name."""
        return OFFLINE

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Give the turn that fits.

        Raises:
            ScenarioInvalid: there is no scenario, or no turn of it fits.
        """
        prompt, results = _latest(messages)
        turn = next((each for each in scenario(self._path) if each.fits(prompt, results)), None)
        if turn is None:
            raise ScenarioInvalid("no turn of the offline scenario fits this conversation; add one without `when`")
        return ModelResponse(
            parts=[_part(turn, len(messages))],
            usage=RequestUsage(),
            model_name=self._name,
            provider_name=OFFLINE,
            finish_reason="stop" if turn.call is None else "tool_call",
        )

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Give the turn that fits, word by word."""
        response = await self.request(messages, model_settings, model_request_parameters)
        yield CompletedStreamedResponse(
            response, model_request_parameters=model_request_parameters, replay_events=_events(response)
        )


def _latest(messages: list[ModelMessage]) -> tuple[str, frozenset[str]]:
    """Return the last prompt, and the tools whose results end the conversation."""
    requests = [message for message in messages if isinstance(message, ModelRequest)]
    prompts = [part.content for each in requests for part in each.parts if isinstance(part, UserPromptPart)]
    last = requests[-1].parts if requests else []
    results = frozenset(part.tool_name for part in last if isinstance(part, ToolReturnPart))
    said = prompts[-1] if prompts else ""
    return said if isinstance(said, str) else str(said), results


def _part(turn: Turn, at: int) -> TextPart | ToolCallPart:
    if turn.call is not None:  # the id is the same whenever the conversation is
        return ToolCallPart(turn.call.tool, turn.call.args, tool_call_id=f"offline-{at}")
    return TextPart(turn.say or "")


def _events(response: ModelResponse) -> list[ModelResponseStreamEvent]:
    (part,) = response.parts
    if not isinstance(part, TextPart):
        return [PartStartEvent(index=0, part=part), PartEndEvent(index=0, part=part)]
    words = [f"{word} " for word in part.content.split(" ")]
    words[-1] = words[-1][:-1]
    spoken = [PartDeltaEvent(index=0, delta=TextPartDelta(content_delta=word)) for word in words]
    return [PartStartEvent(index=0, part=TextPart("")), *spoken, PartEndEvent(index=0, part=part)]
