"""lint_fix: mends what linters can mend by themselves, and says what is left."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from worker.code import unified_diff
from worker.context import RunContext
from worker.workflows.code_assist import biome, linters
from worker.workflows.code_assist.linters import Finding, Mended
from worker.workflows.code_assist.model import questions, told
from worker.workflows.code_assist.schemas import CodeAssistInput, CodeAssistResult, Diagnostic, FilePatch

if TYPE_CHECKING:
    from worker.agent.questions import Questions

STEPS = {"total": 5}
NAMED_MAX = 8


async def run(ctx: RunContext, given: CodeAssistInput) -> CodeAssistResult:
    """Check, fix, format, check again; return the diffs and what is left for a person."""
    files = {file.path: file.content for file in given.files}
    taken = await linters.taken(files)
    found = await ctx.step("lint:check", lambda _: linters.lint(taken), kind="check", data=STEPS)
    fixed = taken | await ctx.step("lint:fix", lambda _: linters.fix(taken), kind="fix", data=STEPS)
    formatted = await ctx.step("lint:format", lambda _: linters.format_files(fixed), kind="format", data=STEPS)
    mended = fixed | formatted
    left = await ctx.step("lint:recheck", lambda _: linters.lint(mended), kind="check", data=STEPS)
    asks = await questions(ctx, given) if given.model is not None and left else None
    end = await _by_model(ctx, asks, Mended(mended, left)) if asks else Mended(mended, left)
    patches = await ctx.step("diff", lambda _: _patches(taken, end.files), kind="diff", data=STEPS)
    return CodeAssistResult(
        type="lint_fix",
        files_modified=[FilePatch(**patch) for patch in patches],
        explanation=_explain(found, end, patches, skipped=set(files) - set(taken)),
        diagnostics=[Diagnostic(**finding) for finding in end.left],
        **(told(asks) if asks else {}),
    )


async def _by_model(ctx: RunContext, asks: "Questions", state: Mended) -> Mended:
    from worker.workflows.code_assist.mending import mend

    return await mend(ctx, asks, state.files, state.left)


async def _patches(before: Mapping[str, str], after: Mapping[str, str]) -> list[dict[str, str]]:
    return await asyncio.to_thread(_diffs, before, after)


def _diffs(before: Mapping[str, str], after: Mapping[str, str]) -> list[dict[str, str]]:
    diffs = {path: unified_diff(path, text, after[path]) for path, text in before.items()}
    return [{"path": path, "patch": patch} for path, patch in diffs.items() if patch]


def _explain(found: list[Finding], end: Mended, patches: list[dict[str, str]], skipped: set[str]) -> str:
    mended = Counter(item["code"] for item in found) - Counter(item["code"] for item in end.left)
    named = ", ".join(f"{code} x{times}" for code, times in mended.most_common(NAMED_MAX))
    parts = [f"{len(patches)} of the given files changed." if patches else "Nothing needed changing."]
    if mended:
        parts.append(f"{mended.total()} findings mended ({named}).")
    if end.taken_away:
        parts.append(
            f"{end.taken_away} of them by the model, and no linter knows whether the code still does the same."
        )
    if end.left:
        parts.append(f"{len(end.left)} findings need a person; see the diagnostics.")
    return " ".join([*parts, *_left_alone(skipped)])


def _left_alone(skipped: set[str]) -> list[str]:
    script = [path for path in skipped if biome.takes(path)]
    other = len(skipped) - len(script)
    parts = [f"{other} files are of no language with a linter and were left alone."] if other else []
    if script:
        parts.append(f"{len(script)} files of JavaScript or TypeScript were left alone: {biome.CURE}.")
    return parts
