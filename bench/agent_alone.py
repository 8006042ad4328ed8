"""The agents of `agent` without Umbel: pydantic-ai alone, and a loop by hand on the openai SDK.

Both stream over the SDK's aiohttp client, as Umbel does, and use the calculator's own function. Nothing is recorded.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from typing import Any

import openai
from openai import AsyncOpenAI
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import AgentStreamEvent, PartDeltaEvent, TextPartDelta
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from bench.agent_work import IN_FLIGHT, prompt, right
from bench.peers.program import serve
from models.tasks import Effect
from worker.tools import calculator
from worker.tools.base import ToolCall

MODEL = "talk"
Run = Callable[[str], Awaitable[str]]
_TOOL = calculator.CALCULATOR
_SCHEMA = {
    "type": "function",
    "function": {"name": "calculator", "description": _TOOL.description, "parameters": _TOOL.schema()},
}


async def compute(expression: str, to: str | None = None) -> dict[str, Any]:
    """Compute as Umbel's tool does."""
    args = calculator.CalculatorArguments(expression=expression, to=to)
    return await calculator.run(args, ToolCall(_TOOL, args, Effect.PURE, ""))


def pydantic(client: AsyncOpenAI) -> Run:
    """Make one agent of pydantic-ai for all runs, its text heard as it streams."""
    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))
    agent = Agent(model, tools=[])
    agent.tool_plain(name="calculator")(compute)

    async def run(asked: str) -> str:
        return (await agent.run(asked, event_stream_handler=_hear)).output

    return run


async def _hear(_: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
    deltas = [event.delta async for event in events if isinstance(event, PartDeltaEvent)]
    "".join(delta.content_delta for delta in deltas if isinstance(delta, TextPartDelta))


def by_hand(client: AsyncOpenAI) -> Run:
    """Make the loop: ask, call what is asked for, ask again, until there is an answer."""
    return partial(_loop, client)


async def _loop(client: AsyncOpenAI, asked: str) -> str:
    messages: list[Any] = [{"role": "user", "content": asked}]
    while True:
        text, calls = await _answer(client, messages)
        if not calls:
            return text
        messages.append({"role": "assistant", "content": text or None, "tool_calls": list(calls.values())})
        results = await asyncio.gather(
            *(compute(**json.loads(call["function"]["arguments"])) for call in calls.values())
        )
        for call, result in zip(calls.values(), results):
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})


async def _answer(client: AsyncOpenAI, messages: list[Any]) -> tuple[str, dict[int, Any]]:
    stream: Any = await client.chat.completions.create(
        model=MODEL, messages=messages, tools=[_SCHEMA], stream=True, stream_options={"include_usage": True}
    )  # type: ignore[call-overload]
    text, calls = [], dict[int, Any]()
    async for chunk in stream:
        for choice in chunk.choices:
            text.append(choice.delta.content or "")
            for piece in choice.delta.tool_calls or ():
                if piece.index not in calls:
                    about = {"name": piece.function.name, "arguments": ""}
                    calls[piece.index] = {"id": piece.id, "type": "function", "function": about}
                calls[piece.index]["function"]["arguments"] += piece.function.arguments or ""
    return "".join(text), calls


class Alone:
    """Agents of one process; speaks the protocol of the queue benchmarks."""

    def __init__(self, make: Callable[[AsyncOpenAI], Run], url: str) -> None:
        self._make = make
        self._url = url
        self._count = self._number = 0

    def submit(self, count: int) -> None:
        """Take so many runs."""
        self._count += count

    def wait(self) -> list[float]:
        """Carry out what was taken; how long each took, in seconds."""
        count, self._count = self._count, 0
        return asyncio.run(self._all(count))

    async def _all(self, count: int) -> list[float]:
        free = asyncio.Semaphore(IN_FLIGHT)
        http = openai.DefaultAioHttpClient()
        async with AsyncOpenAI(base_url=self._url, api_key="none", http_client=http, max_retries=0) as client:
            run = self._make(client)
            return list(await asyncio.gather(*(self._one(run, free) for _ in range(count))))

    async def _one(self, run: Run, free: asyncio.Semaphore) -> float:
        async with free:
            began, self._number = time.monotonic(), self._number + 1
            right(await run(prompt(self._number)))
            return time.monotonic() - began


if __name__ == "__main__":
    serve(Alone({"pydantic-ai": pydantic, "openai": by_hand}[sys.argv[1]], sys.argv[2]))
