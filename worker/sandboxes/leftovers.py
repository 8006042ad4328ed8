"""Ends what sandboxes of killed workers could have left behind, when a worker starts.

The kernel ends a sandbox with its worker; this is for the case that it could not. Everything of a sandbox carries its
worker's mark: what it was, and since when, so that a number used again is not taken for it. Whatever has the mark of a
living worker, or of one this worker can't see, is left alone.
"""

import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_KIND = "umbel-sandbox"
_CANARY = "umbel-canary"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """How much was ended and deleted."""

    processes: int = 0
    files: int = 0


def mark() -> str:
    """Return this worker's mark; processes of its sandboxes have it among their arguments."""
    return _mark(_KIND, os.getpid())


def canary_prefix() -> str:
    """Return how the names of this worker's canaries begin."""
    return f"{_mark(_CANARY, os.getpid())}."


def is_orphan(said: str) -> bool:
    """Whether this is the mark of a worker of this machine that is gone."""
    return _owner_is_gone(_KIND, said)


def sweep() -> Swept:
    """End processes and delete files whose worker is gone. It reads all of /proc: not for the event loop."""
    swept = Swept(sum(map(_end, _processes())), sum(map(_delete, _canaries())))
    if swept != Swept():
        log.warning("leftovers of killed workers ended", extra={"processes": swept.processes, "files": swept.files})
    return swept


def _processes() -> Iterator[int]:
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and _is_orphaned(int(place.name)):
            yield int(place.name)


def _is_orphaned(pid: int) -> bool:
    with suppress(OSError):
        said = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return any(_owner_is_gone(_KIND, each) for each in said)
    return False


def _end(pid: int) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # Looked at again now that the handle can't come to mean another process.
        if not _is_orphaned(pid):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except (PermissionError, ProcessLookupError):  # another user's, whose own worker ends it; or just gone
        return False
    finally:
        os.close(handle)
    return True


def _canaries() -> Iterator[Path]:
    for file in Path(tempfile.gettempdir()).glob(f"{_CANARY}.*"):
        if _owner_is_gone(_CANARY, file.name.rpartition(".")[0]):
            yield file


def _delete(file: Path) -> bool:
    with suppress(OSError):
        file.unlink()
        return True
    return False


def _owner_is_gone(kind: str, said: str) -> bool:
    """Whether this is a mark, of a worker this one would see if it lived, and sees not."""
    parts = said.split(".")
    if len(parts) != 4 or parts[0] != kind or parts[1] != _view() or not parts[2].isdigit():
        return False
    return _mark(kind, int(parts[2])) != said


def _mark(kind: str, pid: int) -> str:
    return f"{kind}.{_view()}.{pid}.{_begun(pid)}"


@cache
def _view() -> str:
    """Which processes are seen from here: the boot and the process namespace their numbers belong to."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").replace("-", "").strip()
    return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"


def _begun(pid: int) -> str:
    with suppress(OSError):
        state, *rest = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
        return "" if state in "ZX" else rest[18]
    return ""
