"""A model at the provider: speaks Chat Completions, streamed, and says what the prompt tells it to.

The prompt is JSON: `{"task": "17", "answers": [[{"tool": "calculator", "args": {...}}, ...], "It is {told}"]}`. The
n-th answer is given to a conversation that has n - 1, whoever asks and however often, so it needs no memory. `{told}`
stands for what the tools said; `{"say": "..."}` among the calls is said before them. `meet` holds back the first
answer, once begun, until so many are in flight.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Write = Callable[[dict[str, Any]], None]
#: Longest wait for others to meet, in seconds; a test that waits so long has failed.
MEET_S = 120.0


@dataclass(frozen=True)
class Asked:
    """One request: for which task, its which answer, what that says and costs, and what was `said` after the script."""

    task: str
    step: int
    answer: str | list[dict[str, Any]]
    meet: int
    input_tokens: int
    said: list[str]

    @property
    def key(self) -> str:
        """What is paid for: the same however often it is asked."""
        return f"{self.task}:model:{self.step}"

    @property
    def deltas(self) -> list[dict[str, Any]]:
        """The pieces of the answer: words, then tool calls in two pieces each."""
        if isinstance(self.answer, str):
            return list(_words(self.answer))
        said = [delta for each in self.answer if "say" in each for delta in _words(each["say"])]
        calls = [each for each in self.answer if "tool" in each]
        return said + [delta for place, call in enumerate(calls) for delta in _call(self.step, place, call)]

    @property
    def output_tokens(self) -> int:
        """One for each piece."""
        return len(self.deltas)


def read(body: dict[str, Any]) -> Asked:
    """Understand a request.

    Raises:
        LookupError, ValueError: it is none of those this model was made for.
    """
    messages = body["messages"]
    told_first, *said = [each["content"] for each in messages if each["role"] == "user"]
    script = json.loads(told_first)
    step = 1 + sum(each["role"] == "assistant" for each in messages)
    answer = script["answers"][step - 1]
    if isinstance(answer, str):
        told = " ".join(each["content"] for each in messages if each["role"] == "tool")
        answer = answer.replace("{told}", told)
    meet = int(script.get("meet", 0)) if step == 1 else 0
    return Asked(str(script["task"]), step, answer, meet, 10 + 7 * len(messages), said)


def _words(text: str) -> Iterator[dict[str, Any]]:
    for place, word in enumerate(text.split(" ")):
        yield {"content": word if place == 0 else f" {word}"}


def _call(step: int, place: int, call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    args = json.dumps(call["args"])
    half, name = len(args) // 2, {"name": call["tool"]}
    first = {"index": place, "id": f"c{step}-{place}", "type": "function"}
    yield {"tool_calls": [first | {"function": name | {"arguments": args[:half]}}]}
    yield {"tool_calls": [{"index": place, "function": {"arguments": args[half:]}}]}


class Model:
    """The route; every request is a line in the ledger before anything is answered."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._times: dict[str, int] = {}
        self._now = 0
        self._met: dict[int, asyncio.Event] = {}

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """Answer `POST /v1/chat/completions`."""
        body = await request.json()
        try:
            asked = read(body)
        except (LookupError, ValueError) as error:
            return web.json_response({"error": {"message": f"no such conversation: {error!r}"}}, status=400)
        self._now += 1
        try:
            self._note(asked)
            return await self._stream(request, asked, body["model"])
        finally:
            self._now -= 1

    def _note(self, asked: Asked) -> None:
        times = self._times[asked.key] = self._times.get(asked.key, 0) + 1
        line = {"at": time.time(), "key": asked.key, "task": asked.task, "behave": "model", "good": True}
        line |= {"step": f"model:{asked.step}", "said": asked.said}
        line |= {"charge": times, "fresh": times == 1, "in_flight": self._now}
        self._write(line | {"input": asked.input_tokens, "output": asked.output_tokens})

    async def _stream(self, request: web.Request, asked: Asked, model: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        about = {"id": f"x-{asked.key}", "object": "chat.completion.chunk", "created": 1, "model": model}
        for place, event in enumerate(_events(asked)):
            await response.write(f"data: {json.dumps(about | event)}\n\n".encode())
            if place == 0 and asked.meet:
                await self._meet(asked.meet)
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _meet(self, others: int) -> None:
        met = self._met.setdefault(others, asyncio.Event())
        if self._now >= others:
            met.set()
        async with asyncio.timeout(MEET_S):
            await met.wait()


def _events(asked: Asked) -> Iterator[dict[str, Any]]:
    for delta in asked.deltas:
        yield {"choices": [{"index": 0, "delta": {"role": "assistant"} | delta, "finish_reason": None}]}
    ended = "stop" if isinstance(asked.answer, str) else "tool_calls"
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": ended}]}
    used = {"prompt_tokens": asked.input_tokens, "completion_tokens": asked.output_tokens}
    yield {"choices": [], "usage": used | {"total_tokens": asked.input_tokens + asked.output_tokens}}
