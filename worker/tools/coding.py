"""run_python, run_shell, write_file, list_files: code and files in the run's own sandbox."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import BaseModel, Field

from models.tasks import Effect
from worker.sandboxes.base import MIB, Finished, Job
from worker.sandboxes.errors import PathRefused, SandboxError, SandboxUnavailable
from worker.sandboxes.keeping import Room
from worker.tools.base import Arguments, NotConfigured, Refused, Tool, ToolCall, ToolError
from worker.tools.workbench import Workbench

#: Characters of each of stdout and stderr a model is told: the beginning and, mostly, the end.
HEAD, TAIL = 4000, 8000
LISTED_MAX = 500
READ_MAX = 10 * MIB
NAMES = ("list_files", "run_python", "run_shell", "write_file")
Run = Callable[[Workbench | None, Any, ToolCall], Awaitable[Any]]


class PythonArguments(Arguments):
    """Code to run."""

    code: str = Field(min_length=1, max_length=100_000, description="Whole program; what it prints is the result.")
    stdin: str = Field("", max_length=100_000)
    timeout_s: float = Field(30, ge=1, le=120)


class ShellArguments(Arguments):
    """A line for the shell."""

    command: str = Field(min_length=1, max_length=20_000, description="Given to sh -c in the work directory.")
    stdin: str = Field("", max_length=100_000)
    timeout_s: float = Field(30, ge=1, le=120)


class WriteArguments(Arguments):
    """A file and its text."""

    path: str = Field(min_length=1, max_length=1000, description="In the work directory, such as src/main.py.")
    content: str = Field(max_length=1_000_000)
    executable: bool = False


class ListArguments(Arguments):
    """A directory."""

    path: str = Field(".", min_length=1, max_length=1000)


@contextlib.asynccontextmanager
async def sandbox(bench: Workbench | None, keep_as: str | None = None) -> AsyncIterator[Room]:
    """Give the run's sandbox, and say what goes wrong with it as tools do.

    Raises:
        NotConfigured: this worker can't make one.
        Refused: a path is no file of the work directory, or there is no run.
        ToolError: it was lost, or all are in use.
    """
    if bench is None:
        raise Refused("code runs in tasks only")
    try:
        async with bench.use(keep_as) as room:
            yield room
    except SandboxUnavailable as error:
        raise NotConfigured(str(error), cause=error.code) from None
    except PathRefused as error:
        raise Refused(str(error)) from None
    except SandboxError as error:
        raise ToolError(str(error), cause=error.code) from None


async def run_python(bench: Workbench | None, args: PythonArguments, call: ToolCall) -> dict[str, Any]:
    """Run code; `exit_code`, `stdout`, `stderr`, and `stopped`, the limit it met, if it did."""
    return await _run(bench, call, Job(code=args.code, stdin=_bytes(args.stdin), wall_s=args.timeout_s))


async def run_shell(bench: Workbench | None, args: ShellArguments, call: ToolCall) -> dict[str, Any]:
    """Run a shell line; the same shape."""
    return await _run(bench, call, Job(shell=args.command, stdin=_bytes(args.stdin), wall_s=args.timeout_s))


async def _run(bench: Workbench | None, call: ToolCall, job: Job) -> dict[str, Any]:
    async with sandbox(bench, call.idempotency_key) as room:
        return _told(await room.run(job))


async def write_file(bench: Workbench | None, args: WriteArguments, call: ToolCall) -> dict[str, Any]:
    """Write a file."""
    content = _bytes(args.content)
    async with sandbox(bench, call.idempotency_key) as room:
        await room.write(args.path, content, executable=args.executable)
    return {"written": args.path, "bytes": len(content)}


async def list_files(bench: Workbench | None, args: ListArguments, call: ToolCall) -> dict[str, Any]:
    """List a directory and what is below: `files` as `{path, size}`, and `more`, how many are left out."""
    async with sandbox(bench) as room:
        files = [each for each in await room.entries(args.path) if not each.is_directory]
    listed = [{"path": each.path, "size": each.size} for each in files[:LISTED_MAX]]
    return {"files": listed} | ({"more": len(files) - LISTED_MAX} if len(files) > LISTED_MAX else {})


async def fetch(bench: Workbench, name: str) -> bytes:
    """Return a file of the work directory, whole.

    Raises:
        Refused: there is none, or it is larger than 10 MiB.
    """
    async with sandbox(bench) as room:
        raw = await room.read(name, limit=READ_MAX + 1)
    if len(raw) > READ_MAX:
        raise Refused(f"{name} is larger than {READ_MAX // MIB} MiB; take a part of it with run_shell")
    return raw


def _told(done: Finished) -> dict[str, Any]:
    answer = {"exit_code": done.code, "stdout": _clipped(done.stdout), "stderr": _clipped(done.stderr)}
    answer |= {"stopped": f"limit of {done.stopped}"} if done.stopped else {}
    return answer | ({"network_refused": list(done.refused)} if done.refused else {})


def _clipped(raw: bytes) -> str:
    text = raw.decode(errors="replace")
    left_out = len(text) - HEAD - TAIL
    return text if left_out <= 0 else f"{text[:HEAD]}\n[{left_out} characters left out]\n{text[-TAIL:]}"


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _tool(name: str, description: str, arguments: type[BaseModel], effect: Effect, run: Run, timeout_s: float) -> Tool:
    return Tool(name, description, arguments, effect, partial(run, None), timeout_s)


_RUNNING = ("run_python", "run_shell")
_NO_NETWORK = "There is no network."
_NETWORK = "Some hosts can be reached, by HTTP over the proxy its environment names; others are refused and named."
_KEPT = f"Files in its work directory stay for later calls; processes do not. {_NO_NETWORK}"
CODING: tuple[Tool, ...] = (
    _tool("list_files", "Lists files of the work directory.", ListArguments, Effect.PURE, list_files, 120),
    _tool("run_python", f"Runs Python code. {_KEPT}", PythonArguments, Effect.IDEMPOTENT, run_python, 240),
    _tool("run_shell", f"Runs a shell command. {_KEPT}", ShellArguments, Effect.IDEMPOTENT, run_shell, 240),
    _tool(
        "write_file", "Writes a text file of the work directory.", WriteArguments, Effect.IDEMPOTENT, write_file, 120
    ),
)


def coding(bench: Workbench, *, connected: bool = False) -> list[Tool]:
    """Make the tools for one run.

    Args:
        bench: its sandbox.
        connected: whether code has a network; what it did there can't be taken back when a call is repeated.
    """
    runs: dict[str, Run] = {
        "list_files": list_files, "run_python": run_python, "run_shell": run_shell, "write_file": write_file,
    }  # fmt: skip
    made = [replace(each, run=partial(runs[each.name], bench)) for each in CODING]
    return [_connected(each) if connected and each.name in _RUNNING else each for each in made]


def _connected(tool: Tool) -> Tool:
    told = tool.description.replace(_NO_NETWORK, _NETWORK)
    return replace(tool, effect=Effect.UNSAFE, description=told)
