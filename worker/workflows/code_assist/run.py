"""Hands a code_assist task to its mode."""

import asyncio
from importlib import import_module

from worker.context import RunContext
from worker.workflows.code_assist.recalling import recalled
from worker.workflows.code_assist.schemas import CodeAssistInput, CodeAssistResult


async def run(ctx: RunContext, given: CodeAssistInput) -> CodeAssistResult:
    """Run the mode the task names, unless an equal task has a result already.

    A mode is loaded when it is first asked for: some load clients of models.
    """
    if (known := await recalled(ctx, given)) is not None:
        return known
    mode = await asyncio.to_thread(import_module, f"worker.workflows.code_assist.modes.{given.mode}")
    result: CodeAssistResult = await mode.run(ctx, given)
    return result
