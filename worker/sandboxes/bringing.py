"""Programs and packages of the worker that are used inside a sandbox, read-only.

They are shown in place where the sandbox's user can read them. Where it can't, as in root's home or at E2B, they are
copied in.
"""

import asyncio
import contextlib
import io
import os
import tarfile
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.sandboxes.base import Job, Limits
from worker.sandboxes.errors import SandboxUnavailable
from worker.sandboxes.keeping import House, Room

SHOWN, COPIED = "/opt/umbel", "/tmp/umbel"  # noqa: S108  # those inside
_EXTRACT = f"import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall({COPIED!r})"
_OTHERS_READ, _OTHERS_SEARCH = 0o4, 0o1


@dataclass(frozen=True, slots=True)
class Furnished:
    """A sandbox, and where in it the things brought along are, by name."""

    room: Room
    places: Mapping[str, str]


@contextlib.asynccontextmanager
async def furnished(house: House, brought: Mapping[str, Path], limits: Limits) -> AsyncIterator[Furnished]:
    """Give a new sandbox with files or directories of this machine in it; it is destroyed at the end.

    Args:
        house: where sandboxes come from.
        brought: files or directories by the name they have inside; links are followed.
        limits: what may be used.

    Raises:
        SandboxUnavailable: none can be made here.
        SandboxBusy: no place became free in time.
    """
    shown, copied = _sorted(brought, here=(await house.choice()).usable().here)
    async with await house.open(limits, {f"{SHOWN}/{name}": source for name, source in shown.items()}) as room:
        if copied:
            await _copy(room, copied)
        yield Furnished(room, {name: f"{SHOWN if name in shown else COPIED}/{name}" for name in brought})


def _sorted(brought: Mapping[str, Path], *, here: bool) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return what can be shown, and what must be copied."""
    real = {name: source.resolve() for name, source in brought.items()}
    shown = {name: source for name, source in real.items() if here and _readable(source)}
    return shown, {name: source for name, source in real.items() if name not in shown}


def _readable(source: Path) -> bool:
    """Whether the user a sandbox runs as can read this; only root's sandboxes have another user."""
    if os.geteuid() != 0:
        return True
    ways = all(parent.stat().st_mode & _OTHERS_SEARCH for parent in source.parents)
    wanted = _OTHERS_READ | (_OTHERS_SEARCH if source.is_dir() else 0)
    return ways and source.stat().st_mode & wanted == wanted


async def _copy(room: Room, sources: Mapping[str, Path]) -> None:
    packed = await asyncio.to_thread(_packed, sources.items())
    done = await room.run(Job(code=_EXTRACT, stdin=packed))
    if done.code:
        raise SandboxUnavailable(
            "the worker's programs don't fit into a sandbox; install Umbel where others may read it, or raise "
            f"UMBEL_SANDBOX_DISK_MB: {done.stderr.decode(errors='replace').strip()[-300:]}"
        )


def _packed(sources: Iterable[tuple[str, Path]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, source in sources:
            archive.add(source, arcname=name, filter=_plain)
    return buffer.getvalue()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if member.name.endswith("/__pycache__"):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
