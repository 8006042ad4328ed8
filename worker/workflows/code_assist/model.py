"""The model a task asks, if there is one."""

from typing import Any

from config.settings import get_settings
from worker import llm
from worker.agent.questions import Questions
from worker.context import RunContext
from worker.errors import StepFailed
from worker.tools.egress import guard_of
from worker.workflows.code_assist.schemas import CodeAssistInput


async def questions(ctx: RunContext, given: CodeAssistInput) -> Questions:
    """Return what asks the task's model, or the configured one.

    Raises:
        StepFailed: `no_model_configured`: nothing is named and nothing configured; `model_unknown`.
    """
    model_of = await llm.models_of(ctx.journal.store, ctx.journal.claim.account_id, guard_of)
    return await Questions.of(ctx, model_of(given.model), get_settings().model_window)


def told(asks: Questions) -> dict[str, Any]:
    """Return what a result says of the model that was asked: `model`, `usage`, `synthetic`."""
    used = asks.so_far()
    return {name: used[name] for name in ("model", "usage", "synthetic")}


async def if_configured(ctx: RunContext, given: CodeAssistInput) -> Questions | None:
    """Return the same, or None where no model is configured; every attempt of a run comes to the same.

    Raises:
        StepFailed: the model the task names is unknown.
    """

    async def there_is(_: object) -> bool:
        try:
            await questions(ctx, given)
        except StepFailed as error:
            if error.code == "no_model_configured" and given.model is None:
                return False
            raise
        return True

    return await questions(ctx, given) if await ctx.step("model", there_is, kind="look") else None
