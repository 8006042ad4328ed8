"""Runs an agent to its end: model, tools, model, until it answers; every call is a step of the journal."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from pydantic_ai import Agent, UsageLimits
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from models.repositories.approvals import EXPIRES_S
from worker.agent import output
from worker.agent.budget import Budget, BudgetedModel
from worker.agent.clock import Clock
from worker.agent.conversation import History, history
from worker.agent.delegating import Delegation, sub_agents
from worker.agent.durable import JournalDurability, ModelSteps, tell_exceeded
from worker.agent.experience import Experience, Notes, notes
from worker.agent.gate import Gate
from worker.agent.limits import LIMIT_EXCEEDED, Limits, Tally
from worker.agent.recollection import Memory, recollected
from worker.agent.remote import is_remote, remote_tools, session
from worker.agent.steering import Steering
from worker.agent.toolset import REPAIRS_MAX, JournaledTools
from worker.agent.window import Window
from worker.context import RunContext
from worker.errors import InputRefused, StepFailed
from worker.tools.base import Tool
from worker.tools.registry import Registry, built_in

ModelOf = Callable[[str | None], Model]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What an agent is to do.

    Attributes:
        prompt: the request.
        instructions: how to go about it.
        model: name of the model; None for the configured one.
        tools: names of the tools it may use.
        output_schema: JSON schema of an object to answer with; None for text.
        limits: how far it may go.
        subagents: names of agents it may hand work to; each is a tool `agent_<name>`.
        temperature: passed on to the model.
        approve: tools whose calls a person must approve; `unsafe` stands for every unsafe call.
        approval_expires_s: seconds until a call nobody approved is rejected.
        session_id: the conversation it goes on with, if there is one.
        window: tokens the model reads at most, if nobody says how many.
        experience: where it gets patterns of earlier runs from; None for none.
        network: hosts its code may reach.
        memory: where it is reminded from of what was said and made before; None for nowhere.
    """

    prompt: str
    instructions: str | None = None
    model: str | None = None
    tools: tuple[str, ...] = ()
    output_schema: dict[str, Any] | None = None
    limits: Limits = field(default_factory=Limits)
    subagents: tuple[str, ...] = ()
    temperature: float | None = None
    approve: frozenset[str] = frozenset()
    approval_expires_s: float = EXPIRES_S
    session_id: UUID | None = None
    window: int = 32_000
    experience: Experience | None = None
    network: tuple[str, ...] = ()
    memory: Memory | None = None


async def run_agent(
    ctx: RunContext, given: Assignment, model_of: ModelOf, registry: Registry | None = None
) -> dict[str, Any]:
    """Run an agent and return `text` or `data`, and what it used.

    Args:
        ctx: the run; another attempt with the same assignment goes on where this one ended.
        given: what to do.
        model_of: gives the model of a name.
        registry: the tools there are; the built-in ones by default.

    Raises:
        InputRefused: a tool this worker does not have.
        StepFailed: `limit_exceeded`, `model_misbehaved`, or an error of the model's own.
        Parked: a tool call is in doubt or to be approved, or the run was asked to let go.
    """
    tally = Tally(given.limits)
    others = await remote_tools(ctx, filter(is_remote, given.tools))
    own = _own(given, registry or built_in())
    chosen = dict(sorted((own | others | await sub_agents(ctx, given.subagents)).items()))
    before = await history(ctx, given.session_id, chosen)
    clock = await Clock.of(ctx, tally)
    told = await _told(ctx, given, chosen, before)
    gate = Gate(ctx, given.approve, given.approval_expires_s)
    delegation = Delegation(ctx, tally, given)
    tools = JournaledTools(ctx, tally, chosen, gate, clock, delegation)
    budget = Budget(tally)
    model = BudgetedModel(model_of(given.model), budget)
    steps = ModelSteps(ctx, tally, budget, clock, delegation.settle)
    window = Window(ctx, tally, steps, model, given.window, before.covered)
    agent = _agent(given, model, [JournalDurability(steps), Steering(ctx, tally), window, told], tools)
    # Limits are Tally's alone; pydantic-ai's own default of 50 requests would cut in.
    unlimited = UsageLimits(request_limit=None)
    try:
        with session(ctx, others), clock.watched():
            done = await agent.run(given.prompt, usage_limits=unlimited, message_history=before.messages)
    except StepFailed as error:
        if error.code == LIMIT_EXCEEDED:
            await ctx.step("budget:exceeded", partial(tell_exceeded, error=error), kind="budget")
        raise
    except UnexpectedModelBehavior as error:
        raise _misbehaved(error, tally) from error
    ctx.journal.turn = before.turn(done.new_messages(), window)
    answer = {"text": done.output} if given.output_schema is None else {"data": dict(done.output)}
    return answer | tally.so_far()


async def _told(ctx: RunContext, given: Assignment, tools: Iterable[str], before: History) -> Notes:
    """Return what earlier runs taught, and what was said and made before."""
    taught = await notes(ctx, given.experience, given.prompt, tools)
    reminded = await recollected(ctx, given.memory, given.prompt, before)
    return Notes("\n\n".join(filter(None, (taught.text, reminded))))


def _own(given: Assignment, registry: Registry) -> dict[str, Tool]:
    try:
        return registry.chosen(name for name in given.tools if not is_remote(name))
    except KeyError as error:
        raise InputRefused(error.args[0]) from None


def _agent(
    given: Assignment, model: Model, capabilities: list[AbstractCapability[Any]], tools: JournaledTools
) -> Agent[object, Any]:
    settings = ModelSettings() if given.temperature is None else ModelSettings(temperature=given.temperature)
    agent: Agent[object, Any] = Agent(
        model,
        name="agent",
        output_type=output.output_type(given.output_schema),
        instructions=given.instructions,
        model_settings=settings,
        retries={"tools": REPAIRS_MAX, "output": output.REPAIRS_MAX},
        toolsets=[tools],
        capabilities=capabilities,
    )
    if given.output_schema is not None:
        agent.output_validator(output.checker(given.output_schema))
    return agent


def _misbehaved(error: UnexpectedModelBehavior, tally: Tally) -> StepFailed:
    cause = f" ({str(error.__cause__)[:500]})" if error.__cause__ else ""
    message = f"the model could not be brought to a usable answer: {str(error)[:500]}{cause}"
    return StepFailed(message, code="model_misbehaved", done={**tally.so_far(), "text": tally.text[:4000]})
