"""Carries out an agent task with the configured models, the built-in tools, and the account's own."""

from decimal import Decimal

from config.settings import get_settings
from models.scope import AccountScope
from worker import llm
from worker.agent.limits import Limits
from worker.agent.loop import Assignment, run_agent
from worker.agent.registered import http_tools
from worker.context import RunContext
from worker.tools.egress import guard_of
from worker.tools.note import Shelf, note
from worker.tools.read_file import read_file
from worker.tools.registry import Registry, built_in
from worker.workflows.agent.schemas import AgentInput, AgentLimits, AgentResult


async def run(ctx: RunContext, given: AgentInput) -> AgentResult:
    """Run the agent to its answer."""
    model_of = await llm.models_of(ctx.journal.store, ctx.journal.claim.account_id, guard_of)
    tools = registry(ctx, given).having(*await http_tools(ctx, given.tools))
    return AgentResult.model_validate(await run_agent(ctx, assignment(given), model_of, tools))


def registry(ctx: RunContext, given: AgentInput) -> Registry:
    """Return the tools of one task: the built-in ones, those that know it made for it."""
    journal = ctx.journal
    shelf = Shelf(journal.store, AccountScope(journal.claim.account_id), given.agent or "")
    return built_in().having(note(shelf), read_file({each.name: each.raw() for each in given.files}))


def assignment(given: AgentInput) -> Assignment:
    """Return the task's input in the loop's terms."""
    return Assignment(
        prompt=given.prompt,
        instructions=given.instructions,
        model=given.model,
        tools=(*given.tools, "read_file") if given.files else tuple(given.tools),
        output_schema=given.output_schema,
        limits=_limits(given.limits),
        temperature=given.temperature,
        approve=frozenset(given.approve),
        approval_expires_s=given.approval_expires_s,
        session_id=given.session,
        window=get_settings().model_window,
    )


def _limits(given: AgentLimits) -> Limits:
    return Limits(
        given.max_steps, given.max_tool_calls, given.max_tokens, _usd(given.max_usd), seconds=given.max_seconds
    )


def _usd(given: float | None) -> Decimal | None:
    return None if given is None else Decimal(str(given))
