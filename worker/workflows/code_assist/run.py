"""Hands a code_assist task to its mode."""

from worker.context import RunContext
from worker.workflows.code_assist.modes import generate_test, lint_fix
from worker.workflows.code_assist.schemas import CodeAssistInput, CodeAssistResult

MODES = {"lint_fix": lint_fix.run, "generate_test": generate_test.run}


async def run(ctx: RunContext, given: CodeAssistInput) -> CodeAssistResult:
    """Run the mode the task names."""
    return await MODES[given.mode](ctx, given)
