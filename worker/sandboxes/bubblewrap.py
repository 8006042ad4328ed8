"""Sandboxes by bubblewrap: namespaces of their own for everything, a read-only system, and files in memory only."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from worker.sandboxes import seccomp
from worker.sandboxes.base import WORK, Wanted
from worker.sandboxes.errors import SandboxUnavailable
from worker.sandboxes.local import Launch, LocalSandbox, as_file, start
from worker.sandboxes.system import FILES, LINKED

NAME = "bubblewrap"
NOBODY = "65534"
HOST_NAME = "umbel-sandbox"


class Bubblewrap:
    """Makes sandboxes with `bwrap`."""

    name, here = NAME, True

    def __init__(self, first_uid: int, python: str) -> None:
        self._first_uid = first_uid
        self._python = python

    async def create(self, wanted: Wanted) -> LocalSandbox:
        """Make a sandbox.

        Raises:
            SandboxUnavailable: bubblewrap is missing or can't work here.
        """
        return await start(_launch, wanted, self._python, self._first_uid)


def _launch(wanted: Wanted, inside: Sequence[str], telling: int) -> Launch:
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxUnavailable("bubblewrap is not installed; install the package bubblewrap")
    try:
        filtered = as_file(seccomp.program())
    except OSError as error:
        raise SandboxUnavailable(str(error.strerror)) from None
    told = ("--info-fd", str(telling), "--seccomp", str(filtered))
    return Launch(
        [program, *_ISOLATED, *told, *_system(), *_memory(wanted), *_shown(wanted), *_SEALED, *inside], [filtered]
    )


_ISOLATED = (
    *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--disable-userns", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"),
    *("--uid", NOBODY, "--gid", NOBODY, "--hostname", HOST_NAME, "--cap-drop", "ALL"),
)
# Without these the root and /dev would be file systems in memory that nothing bounds.
_SEALED = ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--")


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev")
    for name in LINKED:
        if os.path.islink(name):
            yield from ("--symlink", os.readlink(name), name)
        elif os.path.isdir(name):
            yield from ("--ro-bind", name, name)
    for name in FILES:
        yield from ("--ro-bind-try", name, name)


def _memory(wanted: Wanted) -> Iterator[str]:
    disk = wanted.limits.disk
    for size, place in ((disk, WORK), (disk // 2, "/tmp"), (disk // 2, "/dev/shm")):  # noqa: S108  # those inside
        yield from ("--size", str(size), "--tmpfs", place)


def _shown(wanted: Wanted) -> Iterator[str]:
    for place, source in wanted.shown.items():
        yield from ("--ro-bind", str(Path(source)), place)
