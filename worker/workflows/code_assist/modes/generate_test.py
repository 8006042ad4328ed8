"""generate_test: writes tests for a file, plays them in a sandbox, and says honestly how they ended."""

import asyncio
import json
from functools import partial
from typing import Any

from worker.code import unified_diff
from worker.context import RunContext
from worker.errors import StepFailed
from worker.workflows.code_assist import linters, pythonic, testfile
from worker.workflows.code_assist.playing import play
from worker.workflows.code_assist.schemas import (
    CodeAssistInput,
    CodeAssistResult,
    FilePatch,
    Played,
    SourceFile,
    WrittenTests,
)

STEPS = {"total": 3}
HYPOTHESIS = "hypothesis"


async def run(ctx: RunContext, given: CodeAssistInput) -> CodeAssistResult:
    """Write tests, play them, and return the file with what happened."""
    tested = testfile.target(given)
    files = {each.path: each.content for each in given.files}
    path = testfile.place_for(tested.path, given)
    only = testfile.function_at(tested, given.cursor.line) if given.cursor else None
    wrote = await ctx.step("tests:write", lambda _: _ghostwritten(files, tested, path, only), kind="write", data=STEPS)
    played = Played.model_validate(
        await ctx.step("tests:run:1", lambda _: _played(files, path, wrote["content"]), kind="test", data=STEPS)
    )
    return await _result(ctx, path, wrote, played)


async def _ghostwritten(files: dict[str, str], tested: SourceFile, path: str, only: str | None) -> dict[str, Any]:
    """Return `content` and `left_out`, the functions no input could be found for."""
    asked = {"module": pythonic.module_of(tested.path), "only": only, "roots": pythonic.roots(files)}
    finished, answer = await pythonic.sent("ghostwrite", files, asked)
    try:
        told = json.loads(answer)
        if told.get("problem"):
            raise _problem(tested.path, str(told["problem"]), str(told["message"]))
        sources, left_out = [str(each) for each in told["sources"]], [str(each) for each in told["left_out"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StepFailed(f"no tests were written: {pythonic.said(finished)}", code="tests_not_written") from None
    if not sources:
        raise _nothing(tested.path, left_out)
    return {"content": await _tidied(path, _joined(sources)), "left_out": left_out}


def _problem(path: str, problem: str, message: str) -> StepFailed:
    if problem == "import":
        why = "what it needs besides Python's own library must be among the files"
        return StepFailed(f"{path} can't be imported in the sandbox; {why}: {message}", code="code_not_importable")
    cure = "install under /usr the same Python version as the worker's, or set UMBEL_MODEL"
    return StepFailed(f"Hypothesis can't be used with the sandbox's Python; {cure}: {message}", code="tool_missing")


def _nothing(path: str, left_out: list[str]) -> StepFailed:
    named = f" ({', '.join(left_out[:10])})" if left_out else ""
    why = "it has no public functions whose arguments' types are known"
    cure = "annotate them, or set UMBEL_MODEL on the workers"
    return StepFailed(f"no tests can be written for {path}: {why}{named}; {cure}", code="tests_not_written")


def _joined(sources: list[str]) -> str:
    """Return one module of several; each begins with the same comment, and imports what it needs."""
    first, *others = sources
    return "\n\n".join([first, *("\n".join(line for line in each.splitlines() if line[:1] != "#") for each in others)])


async def _tidied(path: str, content: str) -> str:
    fixed = (await linters.fix({path: content})).get(path, content)
    return (await linters.format_files({path: fixed})).get(path, fixed)


async def _played(files: dict[str, str], path: str, content: str) -> dict[str, Any]:
    return (await play(files | {path: content}, [path])).model_dump()


async def _result(ctx: RunContext, path: str, wrote: dict[str, Any], played: Played) -> CodeAssistResult:
    content = wrote["content"]
    tests = WrittenTests(
        **played.model_dump(),
        path=path,
        content=content,
        writer=HYPOTHESIS,
        rounds=1,
        passed=played.count("passed"),
        failed=played.count("failed"),
        left_out=wrote["left_out"],
    )
    making = partial(unified_diff, path, None, content)
    patch = await ctx.step("diff", lambda _: asyncio.to_thread(making), kind="diff", data=STEPS)
    return CodeAssistResult(
        type="generate_test",
        files_modified=[FilePatch(path=path, patch=patch)],
        explanation=_explain(tests),
        diagnostics=[],
        tests=tests,
    )


def _explain(tests: WrittenTests) -> str:
    others = len(tests.cases) - tests.passed - tests.failed
    parts = [f"{tests.path}: {len(tests.cases)} tests ran, {tests.passed} passed, {tests.failed} failed."]
    if others:
        parts.append(f"{others} were skipped or could not be run; see `tests.cases`.")
    if tests.stopped:
        parts.append(f"They were cut short: {tests.stopped}.")
    if tests.left_out:
        parts.append(f"No input is known for {', '.join(tests.left_out)}: annotate the arguments, or set a model.")
    if tests.writer == HYPOTHESIS:
        parts.append("Written by Hypothesis from names and annotations: a failing test may only mean that an input is")
        parts.append("not meant to work. Read the tests before you run them: functions are called with any input.")
    return " ".join(parts)
