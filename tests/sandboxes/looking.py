"""What there is on this machine: processes, and sandboxes among them. It loads little."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from worker.sandboxes.base import Backend
from worker.sandboxes.bubblewrap import Bubblewrap
from worker.sandboxes.local import Holder, LocalSandbox
from worker.sandboxes.namespaces import Namespaces

FIRST_UID = 1_990_500_000
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else shutil.which("python3") or ""


def backend_here(name: str) -> Backend:
    """The backend of a name."""
    return {"bubblewrap": Bubblewrap, "landlock": Namespaces}[name](FIRST_UID, PYTHON)


def every_process() -> Iterator[tuple[int, str]]:
    """Each process of this machine, with the time it was started: a number alone may be used again."""
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and (fields := _fields(place)):
            yield int(place.name), fields[19]


def processes(sandbox: LocalSandbox) -> set[tuple[int, str]]:
    """The process that holds a sandbox, and all below it."""
    holder = sandbox._holder
    if not isinstance(holder, Holder):
        return set()
    there = ((pid, _fields(Path(f"/proc/{pid}"))) for pid, _ in every_process())
    parents = {pid: int(fields[1]) for pid, fields in there if fields}  # one may have ended since it was seen
    below = {holder.process.pid}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return {(pid, started) for pid, started in every_process() if pid in below}


def _fields(place: Path) -> list[str]:
    try:
        return (place / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
