"""ruff on a set of files: in a sandbox, without configuration from anywhere."""

import json
import posixpath
from pathlib import Path
from typing import Any

from ruff import find_ruff_bin

from worker.errors import StepFailed, ToolMissing
from worker.sandboxes.base import WORK
from worker.workflows.code_assist.boxed import Files, Outcome, Program, run

#: pycodestyle, pyflakes, import order, modern syntax, likely bugs. Only fixes ruff calls safe are applied.
RULES = "E4,E7,E9,F,I,W,UP,B"
#: --isolated: a configuration file among the given files could change what is looked for.
ISOLATED = ("--isolated", "--no-cache")
#: ruff reads all files at once, and starts a thread for each core it sees.
ENV = {"RAYON_NUM_THREADS": "2", "NO_COLOR": "1"}
PYTHON = (".py", ".pyi")


def takes(path: str) -> bool:
    """Say whether ruff works on a file of this name."""
    return path.endswith(PYTHON)


async def check(files: Files) -> list[dict[str, Any]]:
    """Return ruff's findings: path, line, col, code, message, url; lines and columns from 1.

    Raises:
        StepFailed: `linter_failed`: ruff could not do its work.
        SandboxError: `sandbox_unavailable` and its kin; see `worker.sandboxes.errors`.
    """
    if not files:
        return []
    select = ("--select", RULES, "--output-format", "json", "--exit-zero")
    done = await run(_ruff("check", *ISOLATED, *select, *_named(files)), files)
    try:
        return [_finding(raw) for raw in json.loads(done.finished.stdout)]
    except (ValueError, KeyError, TypeError):
        raise StepFailed("what ruff printed is no list of findings", code="linter_failed") from None


async def fix(files: Files) -> dict[str, str]:
    """Return the files that ruff's safe fixes change, with their new text."""
    return await _changed(files, "check", *ISOLATED, "--select", RULES, "--fix-only", "--exit-zero", "--silent")


async def format_files(files: Files) -> dict[str, str]:
    """Return the files that ruff's formatter changes, with their new text; files that don't parse stay as they are."""
    return await _changed(files, "format", *ISOLATED, "--silent", allowed=(0, 2))


async def _changed(files: Files, *arguments: str, allowed: tuple[int, ...] = (0,)) -> dict[str, str]:
    if not files:
        return {}
    done: Outcome = await run(_ruff(*arguments, *_named(files)), files, allowed, changing=True)
    return done.changed


def _ruff(*arguments: str) -> Program:
    try:
        return Program(Path(find_ruff_bin()), arguments, ENV)
    except FileNotFoundError as error:
        raise ToolMissing("ruff is not installed; install requirements.txt on the worker") from error


def _named(files: Files) -> list[str]:
    # Named one by one: found in a directory, files under build/ or venv/ would be passed over.
    return [f"./{path}" for path in files]


def _finding(raw: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": posixpath.relpath(raw["filename"], WORK),
        "line": raw["location"]["row"],
        "col": raw["location"]["column"],
        "code": raw["code"] or "invalid-syntax",
        "message": raw["message"],
        "url": raw.get("url"),
    }
