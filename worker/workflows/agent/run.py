"""Carries out an agent task with the configured models, the built-in tools, and the account's own."""

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from config.reach import allowed, beyond
from config.settings import Settings, get_settings
from models.errors import NotFound
from models.passages import NOBODY
from models.repositories import files
from models.scope import AccountScope
from models.tasks import Effect, StepStatus
from worker import llm, sandboxes
from worker.agent.experience import Experience
from worker.agent.limits import Limits
from worker.agent.loop import Assignment, run_agent
from worker.agent.recollection import Memory
from worker.agent.registered import http_tools
from worker.context import RunContext
from worker.errors import InputRefused
from worker.patterns.bank import bank
from worker.patterns.block import plain
from worker.patterns.passages.block import source
from worker.patterns.passages.cutting import PASSAGE_MAX
from worker.patterns.passages.finding import Sought
from worker.sandboxes.base import MIB
from worker.sandboxes.keeping import Room
from worker.sandboxes.network import Network
from worker.tools.coding import NAMES, coding, fetch
from worker.tools.egress import guard_of
from worker.tools.note import Shelf, note
from worker.tools.read_file import Sources, read_file
from worker.tools.recall import RecallArguments, recall
from worker.tools.registry import Registry, built_in
from worker.tools.workbench import Keeper, Workbench
from worker.workflows.agent.files import BYTES_MAX, GivenFile
from worker.workflows.agent.schemas import AgentInput, AgentLimits, AgentResult


async def run(ctx: RunContext, given: AgentInput) -> AgentResult:
    """Run the agent to its answer."""
    model_of = await llm.models_of(ctx.journal.store, ctx.journal.claim.account_id, guard_of)
    files_of_task = await contents(ctx, given.files)
    bench = workbench(ctx, given, files_of_task)
    try:
        own = registry(ctx, given, files_of_task, bench)
        done = await run_agent(ctx, assignment(given), model_of, own.having(*await http_tools(ctx, given.tools)))
    finally:
        await bench.close()
    return AgentResult.model_validate(done)


async def contents(ctx: RunContext, given: list[GivenFile]) -> dict[str, bytes]:
    """Return the bytes of a task's files by name, uploaded ones among them.

    Raises:
        InputRefused: an uploaded file is gone, or they are too large together.
        StepFailed: the store can't be read now; retryable.
    """
    ids = {each.name: each.file_id for each in given if each.file_id}
    rows = {name: await _uploaded(ctx, file_id) for name, file_id in ids.items()}
    if sum(row.size for row in rows.values()) + sum(len(each.raw()) for each in given) > BYTES_MAX:
        raise InputRefused(f"the files are larger than {BYTES_MAX} bytes together; give the task fewer of them")
    sent = {each.name: each.raw() for each in given}
    return sent | {name: await ctx.shelf.read(row.sha256, row.size) for name, row in rows.items()}


async def _uploaded(ctx: RunContext, file_id: UUID) -> files.FileRow:
    journal = ctx.journal
    scope = AccountScope(journal.claim.account_id)
    try:
        return await journal.store.read(lambda connection: files.get(connection, scope, file_id))
    except NotFound:
        raise InputRefused(f"the uploaded file {file_id} is gone; upload it again") from None


def registry(ctx: RunContext, given: AgentInput, contents: Mapping[str, bytes], bench: Workbench) -> Registry:
    """Return the tools of one task: the built-in ones, those that know it made for it."""
    journal = ctx.journal
    shelf = Shelf(journal.store, AccountScope(journal.claim.account_id), given.agent or "")
    inside = partial(fetch, bench) if {*NAMES} & {*given.tools} else None
    sources = Sources(contents, inside, partial(ctx.shelf.find, most=BYTES_MAX))
    own = note(shelf), recall(partial(recalled, ctx, given)), read_file(sources)
    return built_in().having(*own, *coding(bench, connected=bool(given.sandbox.network)))


def workbench(ctx: RunContext, given: AgentInput, contents: Mapping[str, bytes]) -> Workbench:
    """Return the task's sandbox, which goes on from what its recorded steps left.

    Raises:
        InputRefused: its code may not reach the hosts it wants.
    """
    journal = ctx.journal
    claim = journal.claim
    used = [row for row in claim.steps if row.key.startswith("tool:") and row.key.rpartition(":")[2] in NAMES]
    done = [row.idempotency_key for row in used if row.status == StepStatus.COMPLETED and row.effect != Effect.PURE]
    keeper = Keeper(journal.store, claim.run_id, claim.fence)
    opening = partial(_open, network=network(given.sandbox.network, get_settings()))
    return Workbench(opening, keeper, done, contents, get_settings().sandbox_idle_s)


async def _open(network: Network | None) -> Room:
    return await sandboxes.house().open(network=network)


def network(hosts: list[str], settings: Settings) -> Network | None:
    """Return what an agent's code may reach, as this worker allows it.

    Raises:
        InputRefused: it wants more; the message names the hosts.
    """
    if not hosts:
        return None
    if more := beyond(hosts, settings.sandbox_network):
        raise InputRefused(f"code here may not reach {', '.join(more)[:500]}; UMBEL_SANDBOX_NETWORK would allow it")
    places = tuple(map(allowed, hosts))
    return Network(places, guard_of(settings).addresses, settings.sandbox_network_mb * MIB)


def assignment(given: AgentInput) -> Assignment:
    """Return the task's input in the loop's terms."""
    return Assignment(
        prompt=given.prompt,
        instructions=given.instructions,
        model=given.model,
        tools=(*given.tools, "read_file") if given.files else tuple(given.tools),
        output_schema=given.output_schema,
        limits=_limits(given.limits),
        subagents=tuple(given.subagents),
        temperature=given.temperature,
        approve=frozenset(given.approve),
        approval_expires_s=given.approval_expires_s,
        session_id=given.session,
        window=get_settings().model_window,
        network=tuple(given.sandbox.network),
        experience=experience(given) if given.patterns else None,
        memory=memory(given),
    )


def experience(given: AgentInput) -> Experience:
    """Return what earlier runs taught the task's agent."""
    settings = get_settings()
    agent, held_out = given.agent or "", settings.patterns_held_out
    return Experience(bank().retrieval, agent, held_out, settings.patterns_tokens)


def memory(given: AgentInput) -> Memory | None:
    """Return where the task's agent is reminded from; None if it asks for nothing."""
    asked = given.recall
    if not asked.messages and not asked.artifacts:
        return None
    return Memory(bank().recall, given.agent or "", asked.messages, asked.artifacts, asked.tokens)


async def recalled(ctx: RunContext, given: AgentInput, args: RecallArguments) -> dict[str, Any]:
    """Look up what an agent wants to be reminded of: in its own sessions, and in the account's artifacts."""
    sought = Sought(args.about, args.messages, args.artifacts, given.agent or NOBODY)
    told = await bank().recall.recall(AccountScope(ctx.journal.claim.account_id), sought)
    found = [{"source": source(each.passage), "text": plain(each.passage.text, PASSAGE_MAX)} for each in told.given]
    return {"passages": found, "degraded": told.degraded}


def _limits(given: AgentLimits) -> Limits:
    return Limits(
        given.max_steps, given.max_tool_calls, given.max_tokens, _usd(given.max_usd), seconds=given.max_seconds
    )


def _usd(given: float | None) -> Decimal | None:
    return None if given is None else Decimal(str(given))
