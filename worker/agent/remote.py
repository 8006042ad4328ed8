"""The tools of MCP servers a run may use, as they were when it first asked.

What a server lists can change between two attempts of a run. The list is a step, so a replay gives the model the
tools it had; a tool that is gone or has changed since is an error of its own call.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from models.tasks import Effect
from worker import mcp
from worker.context import RunContext
from worker.errors import Interrupt, StepFailed
from worker.tools.base import Tool, ToolError

if TYPE_CHECKING:
    from worker.mcp.joint import Joint

STEP = "tools:mcp"


def is_remote(name: str) -> bool:
    """Whether the name is of a server's tool: `server.tool` or `server.*`."""
    return "." in name


async def remote_tools(ctx: RunContext, names: Iterable[str]) -> dict[str, Tool]:
    """Return the servers' tools that were named, by the names models call them by.

    Raises:
        StepFailed: the server or the tool is not there (`mcp_unknown_tool`), is away (`mcp_unavailable`, tried again),
            or has not been approved as it is (`mcp_tool_changed`).
    """
    wanted = sorted(names)
    if not wanted:
        return {}
    run = str(ctx.journal.hold.run_id)
    pool = await _pool(ctx)
    recorded = await ctx.step(STEP, lambda _: _listed(pool, wanted, run), kind="tools")
    return {each["name"]: _bound(pool, each, run) for each in recorded["tools"]}


async def _pool(ctx: RunContext) -> "Joint":
    try:
        return await mcp.pool_of(ctx.journal.store, ctx.journal.claim.account_id)
    except ToolError as error:
        raise _failed(error) from error


@contextmanager
def session(ctx: RunContext, tools: Mapping[str, Tool]) -> Iterator[None]:
    """Let go of what stateful servers keep for the run once it has ended; a run that only waits keeps it a while."""
    try:
        yield
    except Interrupt:
        raise
    except BaseException:
        _end(ctx, tools)
        raise
    _end(ctx, tools)


def _end(ctx: RunContext, tools: Mapping[str, Tool]) -> None:
    if tools:
        mcp.end_session(ctx.journal.claim.account_id, str(ctx.journal.hold.run_id))


async def _listed(pool: "Joint", names: list[str], run: str) -> dict[str, Any]:
    try:
        found = await pool.tools(names, session=run)
    except ToolError as error:
        raise _failed(error) from error
    return {"tools": [_recorded(tool) for tool in found]}


def _failed(error: ToolError) -> StepFailed:
    return StepFailed(str(error), code=error.code, retryable=bool(getattr(error, "retryable", False)))


def _recorded(tool: Any) -> dict[str, Any]:
    shown = {"name": tool.name, "server": tool.server, "tool": tool.remote, "effect": tool.effect}
    return shown | {"description": tool.description, "schema": tool.listed.schema, "hash": tool.listed.hash}


def _bound(pool: "Joint", each: dict[str, Any], run: str) -> Tool:
    from worker.mcp.listing import Listed

    listed = Listed(each["tool"], each["description"], each["schema"], each["hash"])
    return pool.bound(each["server"], listed, each["name"], Effect(each["effect"]), run)
