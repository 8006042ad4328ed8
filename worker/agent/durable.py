"""pydantic-ai's durable units as steps of the journal: each call of the model is one step.

Tool calls are not units here: `worker.agent.toolset` makes them steps itself, because only it knows their
effect. The run's code is replayed from the top; recorded steps answer without any effect.
"""

import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, ClassVar

from pydantic_ai.agent import Agent
from pydantic_ai.agent.abstract import AbstractAgent
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    DurableOperationId,
    EventStreamHandlerId,
    JournalCallableOperationBackend,
    ModelRequestId,
    RoleBasedOperationConfig,
)
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError, UnexpectedModelBehavior, UserError
from pydantic_ai.messages import AgentStreamEvent, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.tools import RunContext as AgentContext

from models.events import EventType
from models.tasks import Effect
from worker.agent.budget import Budget
from worker.agent.clock import Clock
from worker.agent.hearsay import thoughts_of, told_of
from worker.agent.limits import COST_KEY, LIMIT_EXCEEDED, MODEL_KEY, Tally, calls_of
from worker.context import RunContext
from worker.errors import StepFailed
from worker.events import TextStream
from worker.journal import StepCall
from worker.llm.cut import Lost, summed
from worker.llm.record import CallRecord, recording
from worker.tools.chain import clean

Body = Callable[[], Awaitable[object]]
#: pydantic-ai's name for the tool by which a model hands over structured output.
OUTPUT_TOOL = "final_result"
#: Tools that are part of the loop itself.
OWN = frozenset({OUTPUT_TOOL})

log = logging.getLogger(__name__)


class ModelSteps(JournalCallableOperationBackend[None]):
    """Carries out pydantic-ai's operations as journaled steps of one run."""

    def __init__(
        self,
        ctx: RunContext,
        tally: Tally,
        budget: Budget,
        clock: Clock,
        settle: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        config = RoleBasedOperationConfig[None](model=None, event=None, capability=None, tool=None)
        super().__init__(agent_name="agent", config=config)
        self._ctx = ctx
        self._tally = tally
        self._budget = budget
        self._clock = clock
        self._settle = settle
        self._stream: TextStream | None = None
        self._earlier: Lost = {}

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Body,
        cache_key: tuple[object, ...],
        config: None,
    ) -> object:
        """Do one operation once; pydantic-ai calls this."""
        if isinstance(operation_id, ModelRequestId):
            return await self._model(operation_id.model_name or "model", body)
        if isinstance(operation_id, EventStreamHandlerId):
            return None  # events of tools are written by their own steps
        raise UserError(f"the agent loop does not journal {name}")

    async def _model(self, model: str, body: Body) -> object:
        try:
            return await self._counted(model, body)
        finally:
            self._ctx.report(self._tally.totals())

    async def _counted(self, model: str, body: Body) -> object:
        if self._settle is not None:
            await self._settle()
        self._recall(self._tally.next_step)
        answer = await self._recorded(self._tally.before_step(), model, body)
        self._tally.took(answer, OWN)
        return answer

    async def aside(self, key: str, model: str, body: Body) -> dict[str, Any]:
        """Ask the model something that is no part of the conversation, as a step of its own.

        Args:
            key: the step's.
            model: its name.
            body: asks, tells `said` what it hears, and returns the JSON form of the answer.
        """
        self._recall(key)
        self._tally.before_step()
        try:
            answer = await self._recorded(key, model, body)
            self._tally.took_aside(answer, OWN)
        finally:
            self._ctx.report(self._tally.totals())
        return answer

    def _recall(self, key: str) -> None:
        """Count what earlier tries of a step used whose answers were cut off."""
        row = self._ctx.journal.recorded(key)
        self._earlier = ((row.usage if row else None) or {}).get("lost") or {}
        self._tally.was_cut(key, self._earlier)

    async def _recorded(self, key: str, model: str, body: Body) -> dict[str, Any]:
        answer: dict[str, Any] = await self._ctx.step(
            key,
            lambda step: self._ask(step, model, body),
            effect=Effect.IDEMPOTENT,
            kind="model",
            data={"model": model},
        )
        return answer

    async def _ask(self, step: StepCall, model: str, body: Body) -> dict[str, Any]:
        self._stream = await step.stream_text(model)
        with recording(str(self._ctx.journal.claim.account_id)) as call:
            try:
                async with self._clock.limited():
                    given = await body()
            except StepFailed as error:
                raise _with_partial(error, self._stream.text) from None
            except ModelAPIError as error:
                raise _failed(error) from error
            except UnexpectedModelBehavior as error:
                raise StepFailed(_short(error), code="model_misbehaved", retryable=True) from error
            finally:
                self._stream = None
                step.told += told_of(step, call)
                step.usage = self._lost(step.key, call)
        assert isinstance(given, dict)
        answer: dict[str, Any] = clean(given)
        self._tell_apart(answer)
        if call.answered is not None:  # kept with the answer, so that a replay tells the same
            kept = {MODEL_KEY: call.as_json()["model"], COST_KEY: call.cost}
            answer["metadata"] = {**(answer.get("metadata") or {}), **kept}
        step.usage = _used(step, answer, call)
        step.told += thoughts_of(step, answer)
        warnings = self._tally.warnings(answer, OWN)
        step.told += [step.event(EventType.BUDGET_WARNING, **each) for each in warnings]
        return answer

    def _lost(self, key: str, call: CallRecord) -> dict[str, Any] | None:
        """Count what this try and those before it used whose answers were cut off; return it for the step's row."""
        lost = summed([self._earlier, *call.lost])
        self._tally.was_cut(key, lost)
        return {"lost": lost} if lost else None

    def _tell_apart(self, answer: dict[str, Any]) -> None:
        """Give every tool call an id of its own: some providers repeat them, and results are matched by them."""
        taken = set(self._tally.ids())
        for index, part in enumerate(calls_of(answer)):
            if not part["tool_call_id"] or part["tool_call_id"] in taken:
                part["tool_call_id"] = f"{part['tool_call_id'] or 'call'}-{self._tally.steps + 1}-{index + 1}"
            taken.add(part["tool_call_id"])

    async def hear(self, ctx: AgentContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
        """Push the text of a streaming answer to whoever watches."""
        async for event in events:
            self.said(text_in(event))

    def said(self, piece: str) -> None:
        """Push a piece of an answer's text, and count it."""
        if self._stream is not None and piece:
            self._stream.write(clean(piece))
            self._budget.heard(piece)


class JournalDurability(BaseDurabilityCapability[Any]):
    """Makes an agent's calls of its model durable."""

    engine_spec: ClassVar[DurabilityEngineSpec] = DurabilityEngineSpec(
        engine_name="Umbel",
        durable_unit_noun="step",
        durable_container_noun="run",
        codec=JSON_CODEC,
        wrapped_toolset_kinds=frozenset(),
        toolset_lifecycles={},
        journal_discovery=False,
    )

    def __init__(self, steps: ModelSteps) -> None:
        super().__init__(name="agent", event_stream_handler=steps.hear)
        self._steps = steps

    def _bind_to_agent(self, agent: AbstractAgent[Any, Any]) -> None:
        """Nothing to bind: one agent is made for one run."""
        assert isinstance(agent, Agent)

    @property
    def in_durable_context(self) -> bool:
        """Always: there is no such agent outside a run."""
        return True

    def get_durable_operation_backend(self) -> ModelSteps:
        """Return the run's steps."""
        return self._steps


def _used(step: StepCall, answer: dict[str, Any], call: CallRecord) -> dict[str, Any]:
    """What the step's row says of the call. Tries before this one may have been paid for, and nobody knows how much."""
    used: dict[str, Any] = call.as_json() if call.attempts else {"usage": answer.get("usage")}
    used |= step.usage or {}
    unknown = step.attempt - 1 - used.get("lost", {}).get("calls", 0)
    return used | ({"unaccounted": unknown} if unknown > 0 else {})


async def tell_exceeded(step: StepCall, error: StepFailed) -> dict[str, Any]:
    """Tell which limit ended the run; the work of the step that records it."""
    told = {name: error.detail[name] for name in ("limit", "allowed", "needed")}
    step.told.append(step.event(EventType.BUDGET_EXCEEDED, **told))
    return told


def _with_partial(error: StepFailed, text: str) -> StepFailed:
    """Add what the model had said when it was cut off."""
    if error.code == LIMIT_EXCEEDED and text:
        error.detail["done"]["text"] = text[:4000]
    return error


def text_in(event: Any) -> str:
    """Return the text an event of a streaming answer brings."""
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""


def _failed(error: ModelAPIError) -> StepFailed:
    status = error.status_code if isinstance(error, ModelHTTPError) else None
    retryable = status is None or status in (408, 409, 429) or status >= 500
    # The provider's own words may quote the key or the prompt; they stay out of the record.
    message = f"the model {error.model_name} could not be asked" + (
        f": its provider answered {status}" if status else ""
    )
    return StepFailed(message, code="model_failed", retryable=retryable, status=status)


def _short(error: Exception) -> str:
    return f"the model's answer can't be used: {str(error)[:300]}"
