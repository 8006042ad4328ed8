"""A worker's own program on a task's files, in a sandbox: the files are a user's, and a linter reads them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from worker import sandboxes
from worker.errors import StepFailed
from worker.sandboxes.base import MIB, Finished, Job
from worker.sandboxes.bringing import furnished
from worker.sandboxes.keeping import Room

#: Of one run of a linter; memory in all and disk are the settings'.
WALL_S, PROCESS_MEMORY, FILE_MAX, OUTPUT_MAX = 60, 4096 * MIB, 64 * MIB, 16 * MIB

Files = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Program:
    """A program of this machine, its arguments, and what it is told in its environment."""

    source: Path
    arguments: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What errors call it."""
        return self.source.name


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended, and the files it changed with their new text."""

    finished: Finished
    changed: dict[str, str]


async def run(program: Program, files: Files, allowed: Sequence[int] = (0,), *, changing: bool = False) -> Outcome:
    """Run a program in a directory with the files, and nothing else.

    Args:
        program: what to run.
        files: text by relative path.
        allowed: exit codes that are no failure.
        changing: whether the files are read again afterwards.

    Raises:
        StepFailed: `linter_failed`: another exit code, or a limit; the message has the program's words.
        SandboxError: `sandbox_unavailable` where this worker has none; it is never run without.
    """
    house = sandboxes.house()
    limits = replace(
        house.limits(), wall_s=WALL_S, cpu_s=WALL_S, process_memory=PROCESS_MEMORY, file=FILE_MAX, output=OUTPUT_MAX
    )
    async with furnished(house, {program.name: program.source}, limits) as inside:
        for path, text in files.items():
            await inside.room.write(path, text.encode())
        argv = [inside.places[program.name], *program.arguments]
        finished = await inside.room.run(Job(argv=argv, env=program.env))
        _check(program, finished, allowed)
        return Outcome(finished, await _changed(inside.room, files) if changing else {})


def _check(program: Program, finished: Finished, allowed: Sequence[int]) -> None:
    if finished.stopped is None and finished.code in allowed:
        return
    how = f"met its limit of {finished.stopped}" if finished.stopped else f"ended with {finished.code}"
    said = finished.stderr.decode(errors="replace").strip()[-500:]
    raise StepFailed(f"{program.name} {how}: {said}", code="linter_failed")


async def _changed(room: Room, files: Files) -> dict[str, str]:
    texts = {path: (await room.read(path, limit=FILE_MAX)).decode(errors="replace") for path in files}
    return {path: text for path, text in texts.items() if text != files[path]}
