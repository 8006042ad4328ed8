"""ruff on a set of files: in a directory of its own, without configuration from anywhere."""

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruff import find_ruff_bin

from worker import process
from worker.errors import StepFailed, ToolMissing
from worker.process import Finished, Limits

#: pycodestyle, pyflakes, import order, modern syntax, likely bugs. Only fixes ruff calls safe are applied.
RULES = "E4,E7,E9,F,I,W,UP,B"
#: --isolated: a configuration file among the given files could make ruff read others on this machine.
ISOLATED = ("--isolated", "--no-cache")
LIMITS = Limits(wall_s=60, cpu_s=60)
PYTHON = (".py", ".pyi")

Files = Mapping[str, str]


def takes(path: str) -> bool:
    """Say whether ruff works on a file of this name."""
    return path.endswith(PYTHON)


async def check(files: Files) -> list[dict[str, Any]]:
    """Return ruff's findings: path, line, col, code, message, url, fixable; lines and columns from 1.

    Raises:
        StepFailed: ruff could not run.
    """
    if not files:
        return []
    with tempfile.TemporaryDirectory(prefix="umbel-ruff-") as name:
        root = Path(name)
        await asyncio.to_thread(_write, root, files)
        done = await _ruff(
            root, "check", *ISOLATED, "--select", RULES, "--output-format", "json", "--exit-zero", *_named(files)
        )
        return [_finding(root, raw) for raw in json.loads(done.stdout)]


async def fix(files: Files) -> dict[str, str]:
    """Return the files that ruff's safe fixes change, with their new text."""
    return await _changed(files, "check", *ISOLATED, "--select", RULES, "--fix-only", "--exit-zero", "--silent")


async def format_files(files: Files) -> dict[str, str]:
    """Return the files that ruff's formatter changes, with their new text; files that don't parse stay as they are."""
    return await _changed(files, "format", *ISOLATED, "--silent", syntax_errors=True)


async def _changed(files: Files, *arguments: str, syntax_errors: bool = False) -> dict[str, str]:
    if not files:
        return {}
    with tempfile.TemporaryDirectory(prefix="umbel-ruff-") as name:
        root = Path(name)
        await asyncio.to_thread(_write, root, files)
        await _ruff(root, *arguments, *_named(files), allowed=(0, 2) if syntax_errors else (0,))
        return await asyncio.to_thread(_read_changed, root, files)


async def _ruff(root: Path, *arguments: str, allowed: tuple[int, ...] = (0,)) -> Finished:
    try:
        program = find_ruff_bin()
    except FileNotFoundError as error:
        raise ToolMissing("ruff is not installed; install requirements.txt on the worker") from error
    environment = {"PATH": os.defpath, "HOME": str(root), "RAYON_NUM_THREADS": "2", "NO_COLOR": "1"}
    done = await process.run([program, *arguments], root, LIMITS, environment)
    if done.code not in allowed:
        said = done.stderr.decode(errors="replace").replace(str(root), ".").strip()[-500:]
        raise StepFailed(f"ruff ended with {done.code}: {said}", code="linter_failed")
    return done


def _named(files: Files) -> list[str]:
    # Named one by one: found in a directory, files under build/ or venv/ would be passed over.
    return [f"./{path}" for path in files]


def _write(root: Path, files: Files) -> None:
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode())


def _read_changed(root: Path, files: Files) -> dict[str, str]:
    texts = {path: (root / path).read_bytes().decode() for path in files}
    return {path: text for path, text in texts.items() if text != files[path]}


def _finding(root: Path, raw: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": Path(raw["filename"]).resolve().relative_to(root.resolve()).as_posix(),
        "line": raw["location"]["row"],
        "col": raw["location"]["column"],
        "code": raw["code"] or "invalid-syntax",
        "message": raw["message"],
        "url": raw.get("url"),
    }
