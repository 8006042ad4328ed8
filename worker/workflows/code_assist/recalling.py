"""The result of an equal task, given again."""

from functools import partial

from config.settings import get_settings
from models.repositories import equals
from models.scope import ENGINE
from worker.context import RunContext
from worker.workflows.code_assist.schemas import CodeAssistInput, CodeAssistResult


async def recalled(ctx: RunContext, given: CodeAssistInput) -> CodeAssistResult | None:
    """Return what an equal task of the account came to a while ago, labelled; None if the work is to be done.

    No step: it has no effect, and whatever it finds ends the run.
    """
    within_s = get_settings().result_cache_s
    if given.fresh or not within_s:
        return None
    hold = ctx.journal.hold
    asked = partial(equals.known_result, scope=ENGINE, task_id=hold.task_id, within_s=within_s)
    known = await ctx.journal.store.read(asked)
    if known is None:
        return None
    return CodeAssistResult.model_validate({**known.result, "usage": {}, "cached": True, "cached_from": known.task_id})
