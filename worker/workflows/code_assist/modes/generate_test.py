"""generate_test: writes tests for a file, plays them in a sandbox, and says honestly how they ended."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from worker.code import unified_diff
from worker.context import RunContext
from worker.workflows.code_assist import testfile
from worker.workflows.code_assist.model import if_configured, told
from worker.workflows.code_assist.schemas import CodeAssistInput, CodeAssistResult, FilePatch, WrittenTests
from worker.workflows.code_assist.writing import HYPOTHESIS, Wanted, Wrote, by_hypothesis

if TYPE_CHECKING:
    from worker.agent.questions import Questions


async def run(ctx: RunContext, given: CodeAssistInput) -> CodeAssistResult:
    """Write tests, by a model if there is one, play them, and return the file with what happened."""
    wanted = _wanted(given)
    asks = await if_configured(ctx, given)
    wrote = await (_by_model(ctx, wanted, asks) if asks else by_hypothesis(ctx, wanted))
    used = told(asks) if asks else {}
    tests = _tests(wanted.path, wrote, str(used.get("model")) if asks else HYPOTHESIS)
    making = partial(unified_diff, tests.path, None, tests.content)
    patch = await ctx.step("diff", lambda _: asyncio.to_thread(making), kind="diff")
    return CodeAssistResult(
        type="generate_test",
        files_modified=[FilePatch(path=tests.path, patch=patch)],
        explanation=_explain(tests),
        diagnostics=[],
        tests=tests,
        **used,
    )


async def _by_model(ctx: RunContext, wanted: Wanted, asks: "Questions") -> Wrote:
    from worker.workflows.code_assist.asked_tests import by_model

    return await by_model(ctx, wanted, asks)


def _wanted(given: CodeAssistInput) -> Wanted:
    tested = testfile.target(given)
    at = given.cursor.line if given.cursor and given.cursor.file == tested.path else None
    return Wanted(
        files={each.path: each.content for each in given.files},
        tested=tested,
        only=testfile.function_at(tested, at) if at else None,
        path=testfile.place_for(tested.path, given),
        prompt=given.prompt,
        line=at or 1,
    )


def _tests(path: str, wrote: Wrote, writer: str) -> WrittenTests:
    played = wrote.played
    return WrittenTests(
        **played.model_dump(),
        path=path,
        content=wrote.content,
        writer=writer,
        rounds=wrote.rounds,
        passed=played.count("passed"),
        failed=played.count("failed"),
        left_out=list(wrote.left_out),
    )


def _explain(tests: WrittenTests) -> str:
    broken = tests.count("broken")
    others = len(tests.cases) - tests.passed - tests.failed - broken
    parts = [f"{tests.path}: {tests.passed} tests passed, {tests.failed} failed."]
    if others:
        parts.append(f"{others} were skipped, or failed around the test; see `tests.cases`.")
    if broken:
        parts.append("It could not be collected; see `tests.cases`.")
    if tests.stopped:
        parts.append(f"Cut short: {tests.stopped}.")
    if tests.left_out:
        parts.append(f"No input is known for {', '.join(tests.left_out)}: annotate the arguments, or set a model.")
    if tests.writer == HYPOTHESIS:
        parts.append("Written by Hypothesis from names and annotations: a failing test may only mean that an input is")
        parts.append("not meant to work. Read the tests before you run them: functions are called with any input.")
    return " ".join(parts)
