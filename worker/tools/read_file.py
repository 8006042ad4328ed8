"""read_file: the files given with a task, as text, tables, JSON or pages. Parsed in a process of its own."""

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pypdf
from pydantic import Field

from models.tasks import Effect
from worker import process
from worker.errors import StepFailed
from worker.process import Limits
from worker.tools import parsing
from worker.tools.base import Arguments, Refused, Tool, ToolCall

LIMITS = Limits(wall_s=25, cpu_s=10, memory=1024**3, file=0, output=1024**2)
#: Characters of one answer; below the cap of every result, so that nothing is cut in the middle of a row.
ROOM = 28_000
NAMES_SHOWN = 20
_KINDS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".pdf": "pdf"}


class ReadArguments(Arguments):
    """Which file, and which part of it."""

    name: str = Field(min_length=1, max_length=255)
    read_as: Literal["auto", "text", "csv", "json", "pdf"] = Field(
        "auto", alias="as", description="By default by name."
    )
    start: int = Field(0, ge=0, description="First row of a table, or first character of a text; from 0.")
    limit: int | None = Field(None, ge=1, le=100_000, description="Rows or characters at most; never more than fit.")
    first_page: int = Field(1, ge=1, description="Of a PDF.")
    last_page: int | None = Field(None, ge=1)
    header: bool = Field(True, description="Whether a table's first row names its columns.")


#: Reads a file of the work directory; raises Refused.
Fetch = Callable[[str], Awaitable[bytes]]
#: Finds what is kept under a name besides the given files.
Find = Callable[[str], Awaitable[bytes | None]]


async def _nothing(_: str) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where files are looked for: those given, the work directory of the run if it has one, and what was kept."""

    files: Mapping[str, bytes]
    fetch: Fetch | None = None
    find: Find = _nothing

    async def read(self, name: str) -> bytes | None:
        """Return a file; None if there is none, or Refused where the work directory says why."""
        if self.fetch is None:
            return await self._kept(name)
        try:
            return await self.fetch(name)  # a given file is there too, as the run's code may have changed it
        except Refused:
            if (found := await self._kept(name)) is None:
                raise
            return found

    async def _kept(self, name: str) -> bytes | None:
        return self.files[name] if name in self.files else await self.find(name)


async def run(sources: Sources, args: ReadArguments, call: ToolCall) -> Any:
    """Read a part of a file; what is left is named by `next` or `next_page`.

    Raises:
        Refused: there is no such file, or it can't be read so; the message says what to do.
    """
    raw = await sources.read(args.name)
    if raw is None:
        raise Refused(f"there is no file {args.name!r}; there are {_listed(sources.files)}")
    kind = args.read_as if args.read_as != "auto" else _kind(args.name, raw)
    asked = args.model_dump(include={"start", "limit", "first_page", "last_page", "header"})
    request = json.dumps(asked | {"kind": kind, "room": ROOM}).encode() + b"\n" + raw
    answer = await _parsed(args.name, request)
    if "error" in answer:
        raise Refused(f"{args.name}: {answer['error']}")
    return answer["value"]


async def _parsed(name: str, request: bytes) -> dict[str, Any]:
    too_much = f"{name} needs more than {LIMITS.cpu_s} s or 1 GiB to be read; ask for fewer pages or another format"
    command = [sys.executable, "-P", parsing.__file__]
    try:
        done = await process.run(command, Path("/"), LIMITS, _environment(), request)
    except StepFailed as error:
        raise Refused(too_much) from error
    if done.code != 0:
        raise Refused(too_much)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _kind(name: str, raw: bytes) -> str:
    return "pdf" if raw.startswith(b"%PDF-") else _KINDS.get(Path(name).suffix.lower(), "text")


def _listed(files: Mapping[str, bytes]) -> str:
    return ", ".join(f"{name!r} ({len(raw)} bytes)" for name, raw in list(files.items())[:NAMES_SHOWN]) or "none"


def _environment() -> dict[str, str]:
    # Where the library is; nothing else of this process's environment is passed on.
    return {"PYTHONPATH": str(Path(pypdf.__file__).parent.parent), "PYTHONDONTWRITEBYTECODE": "1"}


READ_FILE = Tool(
    name="read_file",
    description="Reads a file given with the task: text, CSV, JSON or PDF.",
    arguments=ReadArguments,
    effect=Effect.PURE,
    run=partial(run, Sources({})),
)


def read_file(sources: Sources) -> Tool:
    """Make the tool for one task's files; the model is told the names of those given."""
    there = f"{_listed(sources.files)}. Results of tools are kept by their artifact's name."
    described, timeout_s = f"{READ_FILE.description} There are: {there}", 30
    if sources.fetch is not None:
        described, timeout_s = f"Reads a file of the work directory: text, CSV, JSON or PDF. Given: {there}", 120
    return replace(READ_FILE, description=described, run=partial(run, sources), timeout_s=timeout_s)
