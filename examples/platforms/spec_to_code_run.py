"""What the workflow does; loaded in workers only. Each phase is a step or a child: a killed worker repeats none."""

from graphlib import CycleError, TopologicalSorter

from examples.platforms.spec_to_code import Built, Part, Spec
from worker.context import RunContext
from worker.errors import StepFailed

CODE = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}


async def run(ctx: RunContext, given: Spec) -> Built:
    parts = {part.path: part for part in given.parts}

    async def plan(step):
        return waves(parts)

    planned = await ctx.step("phase:planning", plan, kind="phase")
    code, mended = {}, []
    for number, wave in enumerate(planned):
        code |= await written(ctx, f"wave:{number}", "Write", [parts[path] for path in wave], code)
        wrong = await checked(ctx, number, {path: code[path] for path in wave})
        if wrong:
            code |= await written(ctx, f"mend:{number}", "Mend", [parts[path] for path in wrong], code)
            mended += wrong
    for path in sorted(code):
        await ctx.artifact(path, "code", code[path])
    return Built(waves=planned, mended=mended, code=code)


def waves(parts: dict[str, Part]) -> list[list[str]]:
    """The paths, those first that need nothing; what may be written side by side is in one wave."""
    sorter = TopologicalSorter({path: [need for need in part.needs if need in parts] for path, part in parts.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise StepFailed(f"these parts need each other: {', '.join(error.args[1])}", code="spec_circular") from None
    found = []
    while sorter.is_active():
        found.append(sorted(sorter.get_ready()))
        sorter.done(*found[-1])
    return found


async def written(ctx: RunContext, key: str, what: str, parts: list[Part], code: dict[str, str]) -> dict[str, str]:
    """One agent for each part, all at once; the run waits for them without a slot."""
    there = "\n\n".join(f"{path}:\n{text}" for path, text in sorted(code.items()))
    children = [
        await ctx.spawn(
            f"{key}:{part.path}",
            "agent",
            {
                "prompt": f"{what} the file {part.path}: {part.does}\n\nThere is already:\n{there}",
                "output_schema": CODE,
            },
        )
        for part in parts
    ]
    ended = await ctx.join_all(children)
    lost = [part.path for part, each in zip(parts, ended, strict=True) if each.status != "succeeded"]
    if lost:
        raise StepFailed(f"not written: {', '.join(lost)}; the child tasks say why", code="part_failed")
    return {part.path: each.result["data"]["code"] for part, each in zip(parts, ended, strict=True)}


async def checked(ctx: RunContext, number: int, code: dict[str, str]) -> list[str]:
    """The files with syntax errors, by a linter in a sandbox."""
    files = [{"path": path, "content": text} for path, text in code.items()]
    child = await ctx.spawn(f"check:{number}", "code_assist", {"mode": "lint_fix", "files": files, "fresh": True})
    found = await ctx.join(child)
    if found.status != "succeeded":
        raise StepFailed("the files could not be checked; the child task says why", code="check_failed")
    return sorted({each["path"] for each in found.result["diagnostics"] if each["code"] == "invalid-syntax"})
