"""Runs a trusted program on untrusted files, within limits of time, memory and output."""

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.errors import StepFailed, StepTimeout, ToolMissing


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use: wall and CPU seconds, bytes of memory, of one written file, and of output."""

    wall_s: float = 60
    cpu_s: int = 60
    memory: int = 4 * 1024**3
    file: int = 64 * 1024**2
    output: int = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended and what it printed."""

    code: int
    stdout: bytes
    stderr: bytes


async def run(
    argv: Sequence[str], cwd: Path, limits: Limits, environment: Mapping[str, str] | None = None, stdin: bytes = b""
) -> Finished:
    """Run a program to its end; whatever happens, no process of its group outlives the call.

    Args:
        argv: the program and its arguments; nothing passes through a shell.
        cwd: its working directory.
        limits: what it may use.
        environment: all of its environment; by default only PATH.
        stdin: what it reads.

    Raises:
        ToolMissing: there is no such program.
        StepTimeout: it took longer than the wall limit.
        StepFailed: it printed more than allowed.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=dict(environment or {"PATH": os.defpath}),
            start_new_session=True,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise ToolMissing(f"{argv[0]} can't be started: {error.strerror}") from error
    try:
        _limit(process.pid, limits)
        async with asyncio.timeout(limits.wall_s):
            return await _communicate(process, limits, stdin)
    except TimeoutError:
        raise StepTimeout(f"{Path(argv[0]).name} took longer than {limits.wall_s:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _limit(pid: int, limits: Limits) -> None:
    # Set from outside, right after the start: code run between fork and exec is not safe beside threads.
    wanted = {
        resource.RLIMIT_CPU: limits.cpu_s,
        resource.RLIMIT_AS: limits.memory,
        resource.RLIMIT_FSIZE: limits.file,
        resource.RLIMIT_CORE: 0,
    }
    with contextlib.suppress(ProcessLookupError):
        for kind, value in wanted.items():
            resource.prlimit(pid, kind, (value, value))


async def _communicate(process: asyncio.subprocess.Process, limits: Limits, stdin: bytes) -> Finished:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        process.stdin.close()
    stdout, stderr = await asyncio.gather(_read(process.stdout, limits.output), _read(process.stderr, limits.output))
    return Finished(await process.wait(), stdout, stderr)


async def _read(stream: asyncio.StreamReader, most: int) -> bytes:
    parts, size = [], 0
    while part := await stream.read(65536):
        size += len(part)
        if size > most:
            raise StepFailed("the program printed more than allowed", code="output_too_large")
        parts.append(part)
    return b"".join(parts)
