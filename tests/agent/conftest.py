"""Scripted models and counting tools for the agent's loop, on the real engine."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from models.tasks import Effect
from tests.engine.conftest import Lab, begin, lab, quick
from worker.agent.loop import Assignment, run_agent
from worker.context import RunContext
from worker.spec import Workflow
from worker.testing import workflow
from worker.tools.base import Arguments, Tool, ToolCall
from worker.tools.registry import Registry

__all__ = ["Lab", "begin", "lab", "quick"]


@dataclass(frozen=True)
class Call:
    """A model asks for a tool."""

    name: str
    args: dict[str, Any] | str = field(default_factory=dict)
    id: str | None = None

    def pieces(self, index: int) -> list[dict[int, DeltaToolCall]]:
        """In two pieces, as a provider would stream it."""
        args = self.args if isinstance(self.args, str) else json.dumps(self.args)
        half = len(args) // 2
        first = DeltaToolCall(self.name, args[:half], tool_call_id=self.id or f"id-{index}")
        return [{index: first}, {index: DeltaToolCall(json_args=args[half:])}]


Part = str | Call | Exception | Awaitable[Any]
Answer = Part | Sequence[Part] | Callable[[], Part | Sequence[Part]]


@dataclass
class Script:
    """A model that gives its n-th answer to a history of n - 1 answers, and remembers what it was asked."""

    answers: tuple[Answer, ...]
    asked: list[list[ModelMessage]] = field(default_factory=list)
    infos: list[AgentInfo] = field(default_factory=list)

    def model(self, name: str | None = None) -> Model:
        return FunctionModel(stream_function=self._stream, model_name=name or "scripted")

    async def _stream(
        self, messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        self.asked.append(list(messages))
        self.infos.append(info)
        answer = self.answers[sum(isinstance(each, ModelResponse) for each in messages)]
        given = answer() if callable(answer) else answer
        parts = [given] if isinstance(given, str | Call | Exception) or not isinstance(given, Sequence) else given
        for index, part in enumerate(parts):
            async for piece in self._pieces(index, part):
                yield piece

    async def _pieces(self, index: int, part: Any) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        if isinstance(part, Exception):
            raise part
        if isinstance(part, Call):
            for piece in part.pieces(index):
                yield piece
        elif isinstance(part, str):
            for word in re.split("(?<= )", part):
                yield word
        else:
            await part

    @property
    def steps_asked(self) -> list[int]:
        """Which step each request was for, from 1."""
        return [1 + sum(isinstance(each, ModelResponse) for each in messages) for messages in self.asked]

    def told(self, step: int = -1) -> list[Any]:
        """What the newest message of a request said, part by part."""
        last = self.asked[step][-1]
        assert isinstance(last, ModelRequest)
        return [getattr(part, "content", None) for part in last.parts]


def script(*answers: Answer) -> Script:
    return Script(answers)


class AddArguments(Arguments):
    a: int
    b: int = 0


@dataclass
class Ledger:
    """What tools did, outside of any record."""

    calls: list[tuple[str, int, str]] = field(default_factory=list)
    hold: dict[int, asyncio.Event] = field(default_factory=dict)
    fail: dict[int, Exception] = field(default_factory=dict)

    async def add(self, args: AddArguments, call: ToolCall) -> Any:
        self.calls.append((call.tool.name, args.a, call.idempotency_key))
        if args.a in self.hold:
            await self.hold[args.a].wait()
        if args.a in self.fail:
            raise self.fail[args.a]
        return {"sum": args.a + args.b}

    def done(self, name: str) -> list[int]:
        return [number for tool, number, _ in self.calls if tool == name]

    def registry(self) -> Registry:
        effects = {"pure": Effect.PURE, "again": Effect.IDEMPOTENT, "once": Effect.UNSAFE}
        return Registry(
            Tool(name, f"Adds; {effect}.", AddArguments, effect, self.add) for name, effect in effects.items()
        )


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def flows(model: Script, ledger: Ledger, **assignment: Any) -> dict[str, Workflow]:
    """The agent as a workflow of the test, with all tools of the ledger unless told otherwise."""

    async def run(ctx: RunContext, given: Any) -> Any:
        job = Assignment(**{"prompt": "add", "tools": ("pure", "again", "once"), **assignment})
        return await run_agent(ctx, job, model.model, ledger.registry())

    return {"agent": workflow("agent", run)}
