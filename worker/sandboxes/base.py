"""What a sandbox is: where code that came from a user or a model runs, and what it may use there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from worker.sandboxes.network import Network

KIB, MIB = 1024, 1024**2

#: The work directory, inside.
WORK = "/work"


class Stream(StrEnum):
    """Where a piece of output came from."""

    STDOUT = "stdout"
    STDERR = "stderr"


class Stopped(StrEnum):
    """The limit that ended a run before its program did."""

    WALL = "wall"
    CPU = "cpu"
    MEMORY = "memory"
    OUTPUT = "output"
    FILES = "files"


OnOutput = Callable[[Stream, bytes], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What code may use: seconds, bytes, and numbers of things.

    Attributes:
        wall_s: of one run.
        cpu_s: of one run, all its processes together.
        memory: of all processes together.
        process_memory: address space of one process.
        disk: of the work directory; half as much again for each of /tmp and /dev/shm.
        file: size of one file.
        files: files and directories together.
        output: stdout and stderr of one run together; what is beyond it is dropped.
        processes: processes and threads together.
        open_files: of one process.
    """

    wall_s: float = 30
    cpu_s: float = 30
    memory: int = 512 * MIB
    process_memory: int = 2048 * MIB
    disk: int = 128 * MIB
    file: int = 64 * MIB
    files: int = 20_000
    output: int = MIB
    processes: int = 64
    open_files: int = 256


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run: Python code, a line for the shell, or a program with its arguments; one of the three.

    Attributes:
        code: Python code; modules in the work directory can be imported.
        shell: given to `sh -c`.
        argv: a program and its arguments; nothing passes through a shell.
        stdin: what it reads.
        env: its environment besides PATH, HOME, TMPDIR and LANG.
        wall_s: less than the sandbox's own limit, if given.
        output: less than the sandbox's own limit, if given.
    """

    code: str | None = None
    shell: str | None = None
    argv: Sequence[str] = ()
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    wall_s: float | None = None
    output: int | None = None

    def __post_init__(self) -> None:
        if (self.code is not None) + (self.shell is not None) + bool(self.argv) != 1:
            raise ValueError("a job is code, a shell line or a program: one of the three")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended.

    Attributes:
        code: exit code; 128 + n after signal n.
        stdout: what it printed, up to the limit.
        stderr: likewise.
        stopped: the limit it met, or None.
        wall_s: how long it took.
        cpu_s: what it used, all processes together.
        memory: the most it was seen to use, in bytes.
        refused: connections its network did not allow, and why; for who wrote the code.
    """

    code: int
    stdout: bytes
    stderr: bytes
    stopped: Stopped | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    memory: int = 0
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory of the work directory; `size` in bytes, 0 for what is no file."""

    path: str
    size: int
    is_directory: bool = False


class Sandbox(Protocol):
    """One work directory and the means to run things in it, until it is destroyed. Nothing outlives a run but files.

    Everything may raise SandboxLost: the sandbox ended, and its files with it.
    """

    async def run(self, job: Job, on_output: OnOutput | None = None) -> Finished:
        """Run a job to its end, and end whatever it started; `on_output` is told each piece as it comes."""
        ...

    async def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Write a file; directories on the way are made. Raises PathRefused."""
        ...

    async def read(self, path: str, start: int = 0, limit: int = MIB) -> bytes:
        """Return a part of a file, in bytes. Raises PathRefused."""
        ...

    async def entries(self, path: str = ".") -> list[Entry]:
        """Return what is in a directory and below, in order of path, at most 10,000. Raises PathRefused."""
        ...

    async def snapshot(self, limit: int) -> bytes | None:
        """Return the work directory as one value for `restore`; None if it is larger than `limit` bytes."""
        ...

    async def restore(self, snapshot: bytes) -> None:
        """Put the files of a snapshot in place of what is there."""
        ...

    async def destroy(self) -> None:
        """End it and everything in it; returns when nothing is left."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a sandbox is to be like.

    Attributes:
        limits: what its code may use.
        shown: files and directories of this machine it may read, by the path they have inside.
        network: what it may reach; None for nothing.
    """

    limits: Limits = field(default_factory=Limits)
    shown: Mapping[str, Path] = field(default_factory=dict)
    network: "Network | None" = None


class Backend(Protocol):
    """A way to make sandboxes.

    Attributes:
        name: what it is called in settings and reports.
        here: whether they are on this machine, so that they can be shown its files.
    """

    name: str
    here: bool

    async def create(self, wanted: Wanted) -> Sandbox:
        """Make a sandbox. Raises SandboxUnavailable."""
        ...
