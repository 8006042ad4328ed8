"""Biome on JavaScript and TypeScript, where a worker has it: in a sandbox, without configuration from anywhere.

Biome and not ESLint: one program without plugins or a project's `node_modules`, which a sandbox can be shown as it is.
"""

import asyncio
import json
import platform
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from config.settings import get_settings
from worker.errors import StepFailed, ToolMissing
from worker.workflows.code_assist.boxed import Files, Program, run

LANGUAGES = (".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx")
CURE = "install Biome on the worker (npm install --global @biomejs/biome), or name its program in UMBEL_BIOME"
#: Suggestions are left out: errors and warnings are what a linter is asked for.
COUNTED = ("error", "fatal", "warning")
STYLE = ("--indent-style=space", "--indent-width=2")
ENV = {"RAYON_NUM_THREADS": "2", "NO_COLOR": "1"}
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
_RULES = "https://biomejs.dev/linter/rules/"


def takes(path: str) -> bool:
    """Say whether Biome works on a file of this name."""
    return path.endswith(LANGUAGES)


async def here() -> bool:
    """Say whether this worker has Biome; found out once."""
    return await asyncio.to_thread(_program) is not None


async def check(files: Files) -> list[dict[str, Any]]:
    """Return Biome's findings in the shape of `ruff.check`.

    Raises:
        ToolMissing: this worker has no Biome.
        StepFailed: `linter_failed`: it could not do its work.
        SandboxError: `sandbox_unavailable` and its kin.
    """
    if not files:
        return []
    done = await run(await _biome("lint", "--reporter=json", "--max-diagnostics=none", *_named(files)), files, (0, 1))
    try:
        told = json.loads(done.finished.stdout)["diagnostics"]
        return sorted((_finding(raw) for raw in told if raw["severity"] in COUNTED), key=_place)
    except (ValueError, KeyError, TypeError):
        raise StepFailed("what Biome printed is no list of findings", code="linter_failed") from None


async def fix(files: Files) -> dict[str, str]:
    """Return the files that Biome's safe fixes change, with their new text."""
    return await _changed(files, "lint", "--write")


async def format_files(files: Files) -> dict[str, str]:
    """Return the files that Biome's formatter changes, with their new text; line endings stay what they are."""
    windows = {path: text for path, text in files.items() if "\r\n" in text}
    others = {path: text for path, text in files.items() if path not in windows}
    changed = await _changed(windows, "format", "--write", "--line-ending=crlf", *STYLE)
    return changed | await _changed(others, "format", "--write", "--line-ending=lf", *STYLE)


async def _changed(files: Files, *arguments: str) -> dict[str, str]:
    if not files:
        return {}
    return (await run(await _biome(*arguments, *_named(files)), files, (0, 1), changing=True)).changed


async def _biome(*arguments: str) -> Program:
    program = await asyncio.to_thread(_program)
    if program is None:
        raise ToolMissing(f"this worker has no linter for JavaScript and TypeScript; {CURE}")
    return Program(program, arguments, ENV)


@cache
def _program() -> Path | None:
    named = get_settings().biome or shutil.which("biome")
    found = Path(named).resolve() if named else None
    if found is None or not found.is_file():
        return None
    with found.open("rb") as file:
        if file.read(4) == b"\x7fELF":
            return found
    # npm's `biome` is a script that starts the program in the package for this machine, which lies beside its own.
    machine = _MACHINES.get(platform.machine(), "")
    beside = (found.parents[2] / f"cli-linux-{machine}{libc}" / "biome" for libc in ("", "-musl"))
    return next((each for each in beside if each.is_file()), None)


def _named(files: Files) -> list[str]:
    return [f"./{path}" for path in files]


def _finding(raw: dict[str, Any]) -> dict[str, Any]:
    category = str(raw["category"])
    rule = category.rpartition("/")[2]
    is_rule = category.startswith("lint/")
    return {
        "path": raw["location"]["path"].removeprefix("./"),
        "line": raw["location"]["start"]["line"],
        "col": raw["location"]["start"]["column"],
        "code": rule if is_rule else "invalid-syntax" if category == "parse" else category,
        "message": raw["message"],
        "url": _RULES + re.sub(r"(?<!^)(?=[A-Z])", "-", rule).lower() if is_rule else None,
    }


def _place(finding: dict[str, Any]) -> tuple[str, int, int]:
    return finding["path"], finding["line"], finding["col"]
