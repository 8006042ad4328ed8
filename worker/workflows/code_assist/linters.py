"""Every linter of the worker behind one door: ruff for Python, Biome for JavaScript and TypeScript."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.errors import ToolMissing
from worker.workflows.code_assist import biome, ruff
from worker.workflows.code_assist.boxed import Files

Finding = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mended:
    """The files as they are now, what linters still find in them, and how many findings a model took away."""

    files: Mapping[str, str]
    left: Sequence[Finding]
    taken_away: int = 0


async def taken(files: Files) -> dict[str, str]:
    """Return the files a linter of this worker works on.

    Raises:
        ToolMissing: there are files in JavaScript or TypeScript, nothing else to work on, and no linter for them.
    """
    python, script = _python(files), _script(files)
    if script and not await biome.here():
        if not python:
            raise ToolMissing(f"this worker has no linter for JavaScript and TypeScript; {biome.CURE}")
        return python
    return python | script


async def lint(files: Files) -> list[Finding]:
    """Return what linters say of the files: path, line, col, code, message, url; lines and columns from 1.

    Files of other languages, and those whose linter this worker does not have, are passed over.

    Raises:
        StepFailed: `linter_failed`: a linter could not do its work.
        SandboxError: `sandbox_unavailable` and its kin; see `worker.sandboxes.errors`.
    """
    return await ruff.check(_python(files)) + await biome.check(await _mine(files))


async def fix(files: Files) -> dict[str, str]:
    """Return the files that safe fixes change, with their new text."""
    return await ruff.fix(_python(files)) | await biome.fix(await _mine(files))


async def format_files(files: Files) -> dict[str, str]:
    """Return the files that formatters change, with their new text; files that don't parse stay as they are."""
    return await ruff.format_files(_python(files)) | await biome.format_files(await _mine(files))


def _python(files: Files) -> dict[str, str]:
    return {path: text for path, text in files.items() if ruff.takes(path)}


def _script(files: Files) -> dict[str, str]:
    return {path: text for path, text in files.items() if biome.takes(path)}


async def _mine(files: Files) -> dict[str, str]:
    script = _script(files)
    return script if script and await biome.here() else {}
