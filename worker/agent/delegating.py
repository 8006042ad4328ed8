"""Work an agent hands to others: tasks of their own, started once, waited for without a slot.

A child agent may do no more than its parent: its limits are a share of what the parent has left, its tools are among
the parent's and need the same approvals. Only an agent the parent was given by name works with tools of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from config import reach
from models.errors import NotFound
from models.repositories import agents
from models.scope import AccountScope
from models.tasks import Effect, StepStatus
from worker import family
from worker.agent.limits import Limits, Tally
from worker.agent.sharing import Share
from worker.context import RunContext
from worker.errors import StepFailed
from worker.family import Child, Options, Outcome
from worker.journal import StepCall
from worker.tools.base import Tool
from worker.tools.chain import presentable
from worker.tools.spawn_task import PREFIX, SPAWN_TASK, DelegateArguments, SpawnArguments, sub_agent

STEP = "tools:agents"
#: The workflow that runs agents.
AGENT = "agent"
#: All a task may say of an agent it names: the rest is the definition's.
BESIDE_A_NAME = frozenset({"agent", "prompt", "files", "limits"})


class Grant(Protocol):
    """What the agent itself may use."""

    @property
    def tools(self) -> Sequence[str]:
        """Names of its tools."""
        ...

    @property
    def approve(self) -> frozenset[str]:
        """Which of them a person approves."""
        ...

    @property
    def subagents(self) -> Sequence[str]:
        """Names of the agents it may hand work to."""
        ...

    @property
    def network(self) -> Sequence[str]:
        """Hosts its code may reach."""
        ...


class Work(NamedTuple):
    """A task to hand over; for agents, the definition it is filled up from."""

    workflow: str
    given: dict[str, Any]


async def sub_agents(ctx: RunContext, names: Sequence[str]) -> dict[str, Tool]:
    """Return a tool for each sub-agent, described as it was when the run first asked.

    Raises:
        StepFailed: `agent_unknown`: the account has none of such a name.
    """
    if not names:
        return {}
    recorded = await ctx.step(STEP, lambda _: _described(ctx, sorted(set(names))), kind="tools")
    tools = [sub_agent(each["name"], each["description"]) for each in recorded["agents"]]
    return {tool.name: tool for tool in tools}


async def _described(ctx: RunContext, names: Sequence[str]) -> dict[str, Any]:
    found = [(name, await _definition(ctx, name)) for name in names]
    return {"agents": [{"name": name, "description": str(each.get("description", ""))} for name, each in found]}


async def _definition(ctx: RunContext, name: str) -> dict[str, Any]:
    hold = ctx.journal.hold
    try:
        asked = partial(_read, scope=AccountScope(hold.account_id), name=name)
        return await ctx.journal.store.submit(hold.run_id, asked)
    except NotFound:
        message = f"the account has no agent {name!r}; put it under /v1/agents/{name}, or leave it out"
        raise StepFailed(message, code="agent_unknown", agent=name) from None


def _read(connection: Any, scope: AccountScope, name: str) -> dict[str, Any]:
    return agents.get(connection, scope, name).definition


@dataclass(slots=True)
class Delegation:
    """Hands over what one run's model asks for."""

    ctx: RunContext
    tally: Tally
    grant: Grant
    _settled: set[str] = field(default_factory=set)
    _let_go: list[Child] = field(default_factory=list)

    async def settle(self) -> None:
        """Before a call of the model: count what children that nobody waits for used, of those that have ended."""
        journal = self.ctx.journal
        answered = journal.recorded(self.tally.next_step)
        ask = answered is None or answered.status != StepStatus.COMPLETED
        for child in tuple(self._let_go):
            if outcome := await family.ended(journal, child, ask=ask):
                self.tally.lent[child.key] = Share.used(outcome.usage)
                self._let_go.remove(child)

    async def call(self, key: str, tool: Tool, args: SpawnArguments | DelegateArguments) -> Any:
        """Start the task once, wait if asked to, and return what the model is told.

        Raises:
            Parked: it has not ended yet.
        """
        try:
            child = await self._started(key, tool, args)
        except StepFailed as error:
            if error.retryable:
                raise
            self._settled.add(key)
            return {"error": {"code": error.code, "message": str(error)}}
        limits = child.about.get("limits") or {}
        self.tally.lent[key] = Share.lent(limits)
        self._settled.add(key)
        if not args.wait:
            if limits:
                self._let_go.append(child)
            return {"task_id": str(child.task_id), "status": "started"}
        ended = await self.ctx.join(child)
        if limits:
            self.tally.lent[key] = Share.used(ended.usage)
        return told(ended)

    async def _started(self, key: str, tool: Tool, args: SpawnArguments | DelegateArguments) -> Child:
        row = self.ctx.journal.recorded(key)
        if row and row.status == StepStatus.COMPLETED:
            call = self.ctx.journal.call(key, Effect.PURE, row.kind, {})
            return Child(call.key, UUID(row.result["task_id"]), row.result["workflow"], row.result["about"])
        try:
            work = await self._work(args, tool.name.removeprefix(PREFIX))
        except StepFailed as error:
            return await self.ctx.step(key, partial(_refuse, error=error), kind="spawn")  # type: ignore[no-any-return]
        about = {"tool": tool.name, "agent": work.given.get("agent"), "limits": work.given.get("limits")}
        options = Options(attached=args.wait, about={name: value for name, value in about.items() if value})
        return await self.ctx.spawn(key, work.workflow, work.given, options)

    async def _work(self, args: SpawnArguments | DelegateArguments, agent: str) -> Work:
        if isinstance(args, DelegateArguments):
            return Work(AGENT, self._narrowed(await self._filled({"agent": agent, "prompt": args.prompt})))
        if args.workflow != AGENT:
            return Work(args.workflow, args.input)
        if args.input.get("agent") is not None:
            self._check_named(args.input)
            return Work(AGENT, self._narrowed(await self._filled(args.input)))
        return Work(AGENT, self._narrowed(self._bounded(args.input)))

    def _check_named(self, given: dict[str, Any]) -> None:
        if given["agent"] not in self.grant.subagents:
            raise _refused(f"agents you may name: {', '.join(self.grant.subagents) or 'none'}")
        if more := sorted(given.keys() - BESIDE_A_NAME):
            raise _refused(f"with an agent's name, {', '.join(more)[:200]} can't be given: its definition has them")

    async def _filled(self, given: dict[str, Any]) -> dict[str, Any]:
        definition = await _definition(self.ctx, given["agent"])
        return {key: value for key, value in definition.items() if key != "description"} | given

    def _bounded(self, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("session") is not None:
            raise _refused("a session can't be handed on; leave it out")
        if given.get("recall"):  # it would see conversations that are not this agent's
            raise _refused("recall can't be handed on; leave it out")
        tools, named = _names(given, "tools"), _names(given, "subagents")
        beyond = [name for name in tools if not any(_covers(own, name) for own in self.grant.tools)]
        beyond += [name for name in named if name not in self.grant.subagents]
        beyond += _hosts_beyond(given.get("sandbox"), self.grant.network)
        if beyond:
            raise _refused(f"it may use only what you may use yourself; not {', '.join(beyond)[:200]}")
        agents_tools = [PREFIX + name for name in named]
        needed = {name for name in (*tools, *agents_tools) if any(_overlap(a, name) for a in self.grant.approve)}
        needed |= self.grant.approve & {"unsafe"}
        return given | {"approve": sorted({*_names(given, "approve"), *needed})}

    def _narrowed(self, given: dict[str, Any]) -> dict[str, Any]:
        pending = [each for each in self.tally.newest if each not in self._settled and _delegates(each)]
        share = self.tally.left().parted(len(pending) + 1)  # one part stays here: the answers must be read
        if share.nothing:
            raise _refused("too little is left of your own limits of steps, tokens or USD; do it yourself, or end")
        limits = given.get("limits")
        return given | {"limits": share.within(limits if isinstance(limits, dict) else {}, Limits().steps)}


async def _refuse(step: StepCall, error: StepFailed) -> Any:
    raise error


def _refused(message: str) -> StepFailed:
    return StepFailed(message, code="child_refused")


def _delegates(key: str) -> bool:
    name = key.split(":", 2)[2]
    return name == SPAWN_TASK.name or name.startswith(PREFIX)


def _names(given: dict[str, Any], field_name: str) -> list[str]:
    value = given.get(field_name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _hosts_beyond(sandbox: Any, own: Sequence[str]) -> list[str]:
    try:
        return reach.beyond(_names(sandbox, "network") if isinstance(sandbox, dict) else [], own)
    except ValueError as error:
        raise _refused(str(error)) from None


def _covers(own: str, name: str) -> bool:
    return own == name or (own.endswith(".*") and name.startswith(own[:-1]))


def _overlap(one: str, other: str) -> bool:
    return _covers(one, other) or _covers(other, one)


def told(ended: Outcome) -> Any:
    """Return what the model is told of a task that has ended; secrets are masked, and what is too long is cut."""
    about = {"task_id": ended.task_id, "status": ended.status}
    if not ended.succeeded:
        error = ended.error or {"code": ended.status, "message": f"the task was {ended.status}"}
        return about | {"error": presentable({name: error.get(name) for name in ("code", "message")})}
    result = ended.result
    if isinstance(result, dict) and {"text", "data", "steps", "tool_calls"} <= result.keys():
        result = result["text"] if result["data"] is None else result["data"]
    return about | {"result": presentable(result)}
