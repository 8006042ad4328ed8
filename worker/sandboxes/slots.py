"""A user of its own for each sandbox of this machine, so that what one uses is not counted to another.

The kernel counts processes by user, and counts none for root. A place is taken by a name only one process can hold; the
kernel gives it back when that process ends, however it ends.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker.sandboxes.errors import SandboxBusy, SandboxUnavailable

SLOTS_MAX = 1000
#: Used where a container knows the users below 65,536 only.
LOW_UID = 64_000


@dataclass(slots=True)
class Slot:
    """A place for one sandbox; `uid` is None where this process can't change its user."""

    uid: int | None
    _name: socket.socket | None = None

    def release(self) -> None:
        """Give the place back."""
        if self._name is not None:
            self._name.close()


def take(first_uid: int) -> Slot:
    """Take a free place.

    Args:
        first_uid: the first of the users set aside for sandboxes.

    Raises:
        SandboxBusy: a thousand sandboxes run on this machine.
        SandboxUnavailable: this is root, and no other user exists here.
    """
    if os.geteuid() != 0:
        return Slot(None)
    for uid in _uids(first_uid):
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with suppress(OSError):
            name.bind(f"\0umbel-sandbox-{uid}")
            return Slot(uid, name)
        name.close()
    raise SandboxBusy("all sandboxes of this machine are in use; try again later")


def _uids(first: int) -> Iterator[int]:
    known = [range(int(line[0]), int(line[0]) + int(line[2])) for line in _uid_map()]
    for candidate in (first, LOW_UID):
        if any(candidate in each and candidate + SLOTS_MAX - 1 in each for each in known):
            return iter(range(candidate, candidate + SLOTS_MAX))
    raise SandboxUnavailable(f"root here can't become user {first}; run the worker as another user than root")


def _uid_map() -> list[list[str]]:
    return [line.split() for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()]
