"""The model a task asks, if there is one. Clients of models are loaded only once one is asked."""

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any

from config.settings import get_settings
from worker import llm
from worker.context import RunContext
from worker.tools.egress import guard_of
from worker.workflows.code_assist.schemas import CodeAssistInput

if TYPE_CHECKING:
    from worker.agent.questions import Questions


async def questions(ctx: RunContext, given: CodeAssistInput) -> "Questions":
    """Return what asks the task's model, or the configured one.

    Raises:
        StepFailed: `no_model_configured`: nothing is named and nothing configured; `model_unknown`.
    """
    await asyncio.to_thread(import_module, "worker.agent.questions")
    from worker.agent.questions import Questions

    model_of = await llm.models_of(ctx.journal.store, ctx.journal.claim.account_id, guard_of)
    return await Questions.of(ctx, model_of(given.model), get_settings().model_window)


def told(asks: "Questions") -> dict[str, Any]:
    """Return what a result says of the model that was asked: `model`, `usage`, `synthetic`."""
    used = asks.so_far()
    return {name: used[name] for name in ("model", "usage", "synthetic")}


async def if_configured(ctx: RunContext, given: CodeAssistInput) -> "Questions | None":
    """Return what asks the task's model or the configured one, None without; the same on every attempt of a run.

    Raises:
        StepFailed: `model_unknown`.
    """

    async def there_is(_: object) -> bool:
        return bool(given.model or get_settings().model.strip())

    return await questions(ctx, given) if await ctx.step("model", there_is, kind="look") else None
