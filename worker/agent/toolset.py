"""Tools as pydantic-ai sees them; each call is one journaled step with the tool's own effect."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from pydantic_ai.exceptions import ModelRetry
from pydantic_ai.tools import RunContext as AgentContext
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_core import SchemaValidator, core_schema

from config import telemetry
from config.known import known_to
from models.errors import CancelPending, LeaseLost
from models.events import EventType
from models.tasks import Effect, Waiting
from worker.agent import elicited
from worker.agent.asking import ask_person
from worker.agent.clock import Clock
from worker.agent.delegating import Delegation
from worker.agent.gate import Gate
from worker.agent.limits import LIMIT_EXCEEDED, Tally
from worker.artifacts import Draft
from worker.context import RunContext
from worker.errors import Interrupt, Parked, StepFailed, WorkerError
from worker.journal import StepCall
from worker.mcp.errors import InputRequired
from worker.tools.ask_human import AskArguments
from worker.tools.base import Answers, ArgumentsRefused, Attachment, Tool, ToolCall, ToolError, ToolResult
from worker.tools.chain import carry_out, clean
from worker.tools.redact import redact
from worker.tools.spawn_task import DelegateArguments, SpawnArguments

#: Wrong calls of one tool in a row that go back to the model before the run fails.
REPAIRS_MAX = 3
#: Characters of arguments and results that events show; the step has all of it.
SHOWN_MAX = 2000
#: A step outlives its tool's own limit, so that the tool's error is the one recorded.
GRACE_S = 10.0

_OBJECT = SchemaValidator(core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema()))


class JournaledTools(AbstractToolset[Any]):
    """The tools of one run."""

    def __init__(
        self,
        ctx: RunContext,
        tally: Tally,
        tools: Mapping[str, Tool],
        gate: Gate,
        clock: Clock,
        delegation: Delegation,
    ) -> None:
        self._ctx = ctx
        self._clock = clock
        self._delegation = delegation
        self._gate = gate
        self._tally = tally
        self._tools = tools
        self._allowed = frozenset(tools)
        self._siblings = Siblings()
        self._schemas = {name: tool.schema() for name, tool in tools.items()}

    @property
    def id(self) -> str:
        """One set for all tools."""
        return "umbel"

    async def get_tools(self, ctx: AgentContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Return the definitions, in order of name."""
        return {name: self._definition(tool) for name, tool in self._tools.items()}

    def _definition(self, tool: Tool) -> ToolsetTool[Any]:
        told = ToolDefinition(
            name=tool.name, description=tool.description, parameters_json_schema=self._schemas[tool.name]
        )
        return ToolsetTool(toolset=self, tool_def=told, max_retries=REPAIRS_MAX, args_validator=_OBJECT)

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: AgentContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Check the arguments, then call the tool as one step.

        Raises:
            ModelRetry: the arguments do not fit; the model is told why.
        """
        ours = self._tools[name]
        try:
            args = ours.validate(clean(tool_args))
        except ArgumentsRefused as error:
            raise ModelRetry(str(error)) from error
        key = self._tally.tool_key(ctx.tool_call_id or "", name)
        return await self._siblings.settled(lambda: self._guarded(key, ours, args))

    async def _guarded(self, key: str, tool: Tool, args: Any) -> Any:
        passed = await self._gate.passed(key, tool, args)
        if passed.refused is not None:
            return passed.refused
        if isinstance(passed.args, AskArguments):
            return await ask_person(self._ctx, key, passed.args, self._gate.expires_s)
        if isinstance(passed.args, SpawnArguments | DelegateArguments):
            answer = await self._delegation.call(key, tool, passed.args)
        else:
            answer = await self._step(key, tool, passed.args)
        return {"note": passed.note, "result": answer} if passed.note else answer

    async def _step(self, key: str, tool: Tool, args: Any) -> Any:
        try:
            return for_model(await self._answered(key, tool, args))
        except StepFailed as error:
            if error.retryable or error.code == LIMIT_EXCEEDED:
                raise
            return {"error": {"code": error.code, "message": str(error)}}

    async def _answered(self, key: str, tool: Tool, args: Any) -> dict[str, Any]:
        """Return what is recorded of a call, made again with a person's answers while it ends with questions."""
        answers: Answers | None = None
        for number in range(1, elicited.ROUNDS_MAX + 1):
            step = key if number == 1 else f"{key}:{number}"
            recorded = await self._recorded(step, tool, args, answers)
            if recorded.get("kind") != elicited.ASKED:
                return recorded
            try:
                said = await elicited.answers(self._ctx, step, tool.name, recorded, self._gate.expires_s)
            except elicited.NotAskable as error:
                return error.as_result().as_json()
            # Without a state of the server's own, every answer so far belongs to the call.
            before = answers.responses if answers and said.state is None else {}
            answers = Answers(before | said.responses, said.state)
        return (
            elicited.NotAskable(f"{tool.name} asked {elicited.ROUNDS_MAX} times and went on asking")
            .as_result()
            .as_json()
        )

    async def _recorded(self, key: str, tool: Tool, args: Any, answers: Answers | None) -> dict[str, Any]:
        effect = tool.effect_of(args)
        recorded: dict[str, Any] = await self._ctx.step(
            key,
            lambda step: self._call(step, tool, args, effect, answers),
            effect=effect,
            kind="tool",
            timeout_s=tool.timeout_s + GRACE_S,
            data={"tool": tool.name},
        )
        return recorded

    async def _call(
        self, step: StepCall, tool: Tool, args: Any, effect: Effect, answers: Answers | None
    ) -> dict[str, Any]:
        if effect is Effect.UNSAFE:  # cut off, nobody would know whether it happened
            self._clock.check()
            return await self._carried_out(step, tool, args, effect, answers)
        async with self._clock.limited():
            return await self._carried_out(step, tool, args, effect, answers)

    async def _carried_out(
        self, step: StepCall, tool: Tool, args: Any, effect: Effect, answers: Answers | None
    ) -> dict[str, Any]:
        account = self._ctx.journal.claim.account_id
        shown = _shown(redact(args.model_dump(mode="json", exclude_unset=True), known_to(account)))
        called = step.event(EventType.TOOL_CALLED, step=step.key, effect=effect, args=shown)
        step.journal.write([], [called])
        telemetry.content("gen_ai.tool.call.arguments", shown)
        call = ToolCall(
            tool, args, effect, step.idempotency_key, step.attempt, self._allowed, account_id=account, answers=answers
        )
        call.keep = partial(self._keep, step)
        try:
            result = await carry_out(call)
        except InputRequired as asked:
            return elicited.recorded(tool.name, asked.detail["requests"], asked.state)
        except ToolError as error:
            if error.ambiguous and effect is Effect.UNSAFE:
                raise StepFailed(str(error), code=error.code, ambiguous=True) from error
            result = error.as_result()
        recorded = result.as_json()
        step.told.append(_event(step, result, recorded, {"cached": True} if call.cached else {}))
        return recorded

    async def _keep(self, step: StepCall, number: int, suffix: str, kind: str, each: Attachment) -> dict[str, Any]:
        """Keep bytes of a tool's result as an artifact named after its step."""
        name = f"{step.key.replace(':', '-')}-{number}{suffix}"
        return await self._ctx.shelf.keep(step, Draft(name, kind, each.content, media_type=each.media_type))


class Siblings:
    """Calls the model asked for together. None is abandoned half way because another one must let go of the run."""

    def __init__(self) -> None:
        self._running = 0
        self._idle = asyncio.Event()
        self._errors: list[Exception] = []

    async def settled(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Return the call's result; if one must stop the run, let those that began end, and begin no other.

        A question to a person, and a task that is waited for, hold up their own call only.
        """
        if not all(map(_is_question, self._errors)):
            raise self._reason()
        self._running += 1
        self._idle.clear()
        try:
            return await call()
        except Exception as error:
            self._errors.append(error)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()
        # pydantic-ai cancels all siblings as soon as one raises; an unsafe one would be left in doubt. A call that ends
        # without ever waiting, such as an open question found again, must let the others begin first.
        await asyncio.sleep(0)
        await self._idle.wait()
        raise self._reason()

    def _reason(self) -> Exception:
        return min(self._errors, key=lambda error: (_rank(error), _until(error)))


def _rank(error: Exception) -> int:
    # A refused write makes the writes after it fail as if the lease were lost: what was asked for is the reason.
    # A call in doubt needs a person, whatever else could be tried again meanwhile.
    if isinstance(error, Parked) and error.reason is Waiting.IN_DOUBT:
        return 2
    order: tuple[tuple[type[Exception], ...], ...] = ((CancelPending,), (LeaseLost,), (), (WorkerError,), (Interrupt,))
    return next((place for place, kinds in enumerate(order) if isinstance(error, kinds)), len(order))


def _is_question(error: Exception) -> bool:
    return isinstance(error, Parked) and error.reason in (Waiting.APPROVAL, Waiting.INPUT, Waiting.CHILD)


def _until(error: Exception) -> float:
    # Of several questions the one that runs out first wakes the run.
    return error.until.timestamp() if isinstance(error, Parked) and error.until else math.inf


def for_model(recorded: dict[str, Any]) -> Any:
    """Return what the model is told of a recorded result."""
    if recorded.get("skipped"):
        return "A person decided to skip this call. It may or may not have had its effect; do not repeat it."
    kind = recorded["kind"]
    if kind == "error":
        return {"error": recorded["error"]}
    if artifacts := recorded.get("artifacts"):
        return {"result": recorded[kind], "kept": artifacts, **({"cut": True} if recorded.get("truncated") else {})}
    return recorded[kind] + "\n[cut here: the result is longer]" if recorded.get("truncated") else recorded[kind]


def _event(step: StepCall, result: ToolResult, recorded: dict[str, Any], more: dict[str, Any]) -> Any:
    if result.kind == "error":
        return step.event(EventType.TOOL_FAILED, step=step.key, error=result.error)
    return step.event(EventType.TOOL_COMPLETED, step=step.key, result=_shown(recorded), **more)


def _shown(value: Any) -> Any:
    encoded = json.dumps(value, ensure_ascii=False, default=str)
    return value if len(encoded) <= SHOWN_MAX else {"beginning": encoded[:SHOWN_MAX], "characters": len(encoded)}
