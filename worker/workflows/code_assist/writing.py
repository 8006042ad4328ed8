"""Tests are written, here by Hypothesis, and played in a sandbox."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from worker.context import RunContext
from worker.errors import StepFailed
from worker.workflows.code_assist import linters, pythonic
from worker.workflows.code_assist.playing import play
from worker.workflows.code_assist.schemas import Played, SourceFile

HYPOTHESIS = "hypothesis"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be tested: a file, or a function or class of it, among a task's files; `path` is the tests' own."""

    files: dict[str, str]
    tested: SourceFile
    only: str | None
    path: str
    prompt: str | None
    line: int

    @property
    def module(self) -> str:
        """The name it is imported by."""
        return pythonic.module_of(self.tested.path)


@dataclass(frozen=True, slots=True)
class Wrote:
    """A test file, how it was played, and how often; `left_out` names functions without a test for want of input."""

    content: str
    played: Played
    rounds: int
    left_out: Sequence[str] = ()


async def by_hypothesis(ctx: RunContext, wanted: Wanted) -> Wrote:
    """Have Hypothesis write them, from names and annotations.

    Raises:
        StepFailed: `code_not_importable`, `tests_not_written`, `tool_missing`: the message has the cure.
        SandboxError: `sandbox_unavailable` and its kin.
    """
    wrote = await ctx.step("tests:write", lambda _: _ghostwritten(wanted), kind="write")
    done = await ctx.step("tests:run:1", partial(tried, wanted, wrote["content"]), kind="test")
    return Wrote(done["content"], Played.model_validate(done["played"]), 1, wrote["left_out"])


async def unimportable(wanted: Wanted) -> str | None:
    """Return why the file can't be imported in the sandbox; None if it can."""
    probe = "test_that_it_is_importable.py"
    played = await play(wanted.files | {probe: f"import {wanted.module}\n\n\ndef test(): pass\n"}, [probe])
    return fault(played) or played.stopped


def fault(played: Played) -> str | None:
    """Return why tests could not be collected, in pytest's words; None if they could."""
    broken = [each.message for each in played.cases if each.outcome == "broken"]
    if broken:
        return "\n\n".join(broken)[-3000:]
    return None if played.cases or played.stopped else "there is no test in it"


async def tried(wanted: Wanted, content: str, _: object) -> dict[str, Any]:
    """Format a test file and play it; return both as JSON."""
    tidied = (await linters.format_files({wanted.path: content})).get(wanted.path, content)
    played = await play(wanted.files | {wanted.path: tidied}, [wanted.path])
    return {"content": tidied, "played": played.model_dump()}


async def _ghostwritten(wanted: Wanted) -> dict[str, Any]:
    """Return `content` and `left_out`, the functions no input could be found for."""
    asked = {"module": wanted.module, "only": wanted.only, "roots": pythonic.roots(wanted.files)}
    finished, answer = await pythonic.sent("ghostwrite", wanted.files, asked, tables=True)
    try:
        told = json.loads(answer)
        if told.get("problem"):
            raise _problem(wanted.tested.path, str(told["problem"]), str(told["message"]))
        sources, left_out = [str(each) for each in told["sources"]], [str(each) for each in told["left_out"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StepFailed(f"no tests were written: {pythonic.said(finished)}", code="tests_not_written") from None
    if not sources:
        raise _nothing(wanted.tested.path, left_out)
    joined = _joined(sources)
    fixed = (await linters.fix({wanted.path: joined})).get(wanted.path, joined)
    return {"content": fixed, "left_out": left_out}


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
