"""Python in a sandbox, with pytest and Hypothesis of the worker beside the task's files."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from importlib.resources import files as resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from worker import sandboxes
from worker.errors import StepFailed, ToolMissing
from worker.sandboxes.base import MIB, Finished, Job
from worker.sandboxes.bringing import Furnished, furnished
from worker.sandboxes.errors import PathRefused
from worker.workflows.code_assist.boxed import Files

#: Packages of the worker, with those they need. They are shown without their metadata, so nothing loads by itself.
PACKAGES = (
    *("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments"),
    *("hypothesis", "_hypothesis_globals", "_hypothesis_ftz_detector", "_hypothesis_pytestplugin", "sortedcontainers"),
)
#: By this name Hypothesis tells what is installed from the code under test, which it reads for constants to try.
SITE = "site-packages"
ANSWER, ANSWER_MAX = ".umbel-answer", 4 * MIB
#: Where Hypothesis keeps what it found out.
STORAGE = ".umbel-hypothesis"
WALL_S = 60
WORK = "/work"
_made: dict[str, bytes] = {}


async def sent(program: str, files: Files, asked: Mapping[str, Any], *, tables: bool) -> tuple[Finished, str]:
    """Run a program of `sent/` beside the files; return how it ended, and its answer as far as it came.

    Args:
        program: its name.
        files: text by relative path.
        asked: what it is told.
        tables: whether it will have Hypothesis think of texts.

    Raises:
        ToolMissing: the worker lacks pytest or Hypothesis.
        SandboxError: `sandbox_unavailable` and its kin.
    """
    own = await _tables() if tables else {}
    code = resources("worker.workflows.code_assist.sent").joinpath(f"{program}.py").read_text("utf-8")
    async with _python() as inside:
        for path, content in (*own.items(), *((path, text.encode()) for path, text in files.items())):
            await inside.room.write(path, content)
        finished = await _run(inside, code, json.dumps(asked).encode())
        try:
            return finished, (await inside.room.read(ANSWER, limit=ANSWER_MAX)).decode(errors="replace")
        except PathRefused:
            return finished, ""


@asynccontextmanager
async def _python() -> AsyncIterator[Furnished]:
    house = sandboxes.house()
    async with furnished(house, _packages(), replace(house.limits(), wall_s=WALL_S, cpu_s=WALL_S)) as inside:
        yield inside


async def _run(inside: Furnished, code: str, stdin: bytes = b"") -> Finished:
    place = inside.places[f"{SITE}/pytest"].rpartition("/")[0]
    env = {"PYTHONPATH": place, "PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_STORAGE_DIRECTORY": f"{WORK}/{STORAGE}"}
    return await inside.room.run(Job(code=code, stdin=stdin, env=env))


async def _tables() -> Mapping[str, bytes]:
    """Return Hypothesis' tables of characters, seconds of work, made once in a sandbox with nothing else in it."""
    if not _made:
        async with _python() as inside:
            await _run(inside, "from hypothesis import strategies as st; st.text().validate()")
            for each in await inside.room.entries():
                if each.path.startswith(f"{STORAGE}/unicode_data/") and each.size:
                    _made[each.path] = await inside.room.read(each.path, limit=ANSWER_MAX)
    return _made


def roots(files: Files) -> list[str]:
    """Return the directories inside from which modules are imported: `src` where there is one, and the project's."""
    return [f"{WORK}/src", WORK] if any(path.startswith("src/") for path in files) else [WORK]


def module_of(path: str) -> str:
    """Return the dotted name a file is imported by.

    Raises:
        StepFailed: `name_not_importable`: a part of its path is no name in Python.
    """
    parts = path.removeprefix("src/").removesuffix(".py").split("/")
    parts = parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts
    if not all(part.isidentifier() for part in parts):
        raise StepFailed(f"{path} can't be imported under its name; rename it", code="name_not_importable")
    return ".".join(parts)


def said(finished: Finished) -> str:
    """Return how a program ended that gave no answer, in a few words."""
    if finished.stopped:
        return f"it met the sandbox's limit of {finished.stopped}"
    return finished.stderr.decode(errors="replace").strip()[-500:] or f"it ended with {finished.code}"


@cache
def _packages() -> Mapping[str, Path]:
    places: Sequence[Path] = [_place(name) for name in PACKAGES]
    return {f"{SITE}/{place.name}": place for place in places}


def _place(name: str) -> Path:
    found = find_spec(name)
    if found is None or found.origin is None:
        raise ToolMissing(f"{name} is not installed; install requirements.txt on the worker")
    origin = Path(found.origin)
    return origin.parent if found.submodule_search_locations else origin
