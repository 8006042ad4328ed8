"""Hands a code_assist task to its mode."""

from worker.context import RunContext
from worker.workflows.code_assist.modes import explain, generate_test, lint_fix, patch
from worker.workflows.code_assist.recalling import recalled
from worker.workflows.code_assist.schemas import CodeAssistInput, CodeAssistResult

MODES = {"explain": explain.run, "lint_fix": lint_fix.run, "generate_test": generate_test.run, "patch": patch.run}


async def run(ctx: RunContext, given: CodeAssistInput) -> CodeAssistResult:
    """Run the mode the task names, unless an equal task has a result already."""
    return await recalled(ctx, given) or await MODES[given.mode](ctx, given)
