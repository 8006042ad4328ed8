"""lint_fix: mends what linters can mend by themselves, and says what is left."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

from worker.code import unified_diff
from worker.context import RunContext
from worker.workflows.code_assist import ruff
from worker.workflows.code_assist.schemas import CodeAssistInput, CodeAssistResult, Diagnostic, FilePatch

STEPS = {"total": 5}
NAMED_MAX = 8


async def run(ctx: RunContext, given: CodeAssistInput) -> CodeAssistResult:
    """Check, fix, format, check again; return the diffs and what is left for a person."""
    files = {file.path: file.content for file in given.files}
    python = {path: text for path, text in files.items() if ruff.takes(path)}
    found = await ctx.step("lint:check", lambda _: ruff.check(python), kind="check", data=STEPS)
    fixed = python | await ctx.step("lint:fix", lambda _: ruff.fix(python), kind="fix", data=STEPS)
    formatted = await ctx.step("lint:format", lambda _: ruff.format_files(fixed), kind="format", data=STEPS)
    mended = fixed | formatted
    left = await ctx.step("lint:recheck", lambda _: ruff.check(mended), kind="check", data=STEPS)
    patches = await ctx.step("diff", lambda _: _patches(python, mended), kind="diff", data=STEPS)
    return CodeAssistResult(
        type="lint_fix",
        files_modified=[FilePatch(**patch) for patch in patches],
        explanation=_explain(found, left, patches, skipped=len(files) - len(python)),
        diagnostics=[Diagnostic(**finding) for finding in left],
    )


async def _patches(before: Mapping[str, str], after: Mapping[str, str]) -> list[dict[str, str]]:
    return await asyncio.to_thread(_diffs, before, after)


def _diffs(before: Mapping[str, str], after: Mapping[str, str]) -> list[dict[str, str]]:
    diffs = {path: unified_diff(path, text, after[path]) for path, text in before.items()}
    return [{"path": path, "patch": patch} for path, patch in diffs.items() if patch]


def _explain(
    found: list[dict[str, Any]], left: list[dict[str, Any]], patches: list[dict[str, str]], skipped: int
) -> str:
    mended = Counter(item["code"] for item in found) - Counter(item["code"] for item in left)
    named = ", ".join(f"{code} x{times}" for code, times in mended.most_common(NAMED_MAX))
    parts = [f"{len(patches)} of the given files changed." if patches else "Nothing needed changing."]
    if mended:
        parts.append(f"{mended.total()} findings mended ({named}).")
    if left:
        parts.append(f"{len(left)} findings need a person; see the diagnostics.")
    if skipped:
        parts.append(f"{skipped} files are not Python and were left alone.")
    return " ".join(parts)
