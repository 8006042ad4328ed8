"""What was approved of each tool, so that a tool that changes afterwards is noticed and not used."""

import asyncio
import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from worker.mcp.errors import ServersRefused

_COMMAND = "run `python -m worker.mcp approve {}`"


def fingerprint(name: str, description: str | None, schema: Mapping[str, Any]) -> str:
    """Return a hash of everything a model is told of a tool; the order of keys does not matter."""
    told = json.dumps([name, description or "", schema], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()


class Pins(Protocol):
    """Keeps the approved hash of each `server.tool`."""

    async def load(self) -> Mapping[str, str]:
        """Return what is approved now."""

    async def approve(self, hashes: Mapping[str, str], *, replace: bool = False) -> Mapping[str, str]:
        """Approve hashes and return what is approved now; those there already stay, unless `replace`."""

    def cure(self, name: str) -> str:
        """Return what approves a changed tool."""


class MemoryPins:
    """Approvals that last as long as the process."""

    def __init__(self, hashes: Mapping[str, str] | None = None) -> None:
        self._hashes = dict(hashes or {})

    async def load(self) -> Mapping[str, str]:
        """Return what is approved now."""
        return dict(self._hashes)

    async def approve(self, hashes: Mapping[str, str], *, replace: bool = False) -> Mapping[str, str]:
        """Approve hashes."""
        self._hashes = _merged(self._hashes, hashes, replace)
        return dict(self._hashes)

    def cure(self, name: str) -> str:
        """Return what approves a changed tool."""
        return _COMMAND.format(name)


class FilePins:
    """Approvals in a JSON file, which several processes may read and change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[tuple[int, int] | None, dict[str, str]] = (None, {})

    async def load(self) -> Mapping[str, str]:
        """Return what is approved now; the file is read only if it has changed.

        Raises:
            ServersRefused: the file is damaged.
        """
        return await asyncio.to_thread(self._load)

    async def approve(self, hashes: Mapping[str, str], *, replace: bool = False) -> Mapping[str, str]:
        """Approve hashes, in one step even if another process does the same.

        Raises:
            ServersRefused: the file is damaged or can't be written.
        """
        try:
            return await asyncio.to_thread(self._approve, hashes, replace)
        except OSError as error:
            raise ServersRefused(f"{self._path} can't be written: {error.strerror}") from None

    def cure(self, name: str) -> str:
        """Return what approves a changed tool."""
        return _COMMAND.format(name)

    def _load(self) -> dict[str, str]:
        try:
            stat = self._path.stat()
        except OSError:
            return {}
        changed, pinned = self._seen
        if changed != (stat.st_mtime_ns, stat.st_ino):
            pinned = self._read()
            self._seen = ((stat.st_mtime_ns, stat.st_ino), pinned)
        return pinned

    def _read(self) -> dict[str, str]:
        with suppress(FileNotFoundError):
            try:
                tools = json.loads(self._path.read_bytes())["tools"]
                return {str(tool): str(pinned) for tool, pinned in tools.items()}
            except (ValueError, KeyError, TypeError, AttributeError):
                raise ServersRefused(f"{self._path} is damaged; restore it, or delete it to approve anew") from None
        return {}

    def _approve(self, hashes: Mapping[str, str], replace: bool) -> dict[str, str]:
        # The file itself is replaced, so what is locked is a neighbour that stays.
        guard = os.open(self._path.with_name(self._path.name + ".guard"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            before = self._read()
            merged = _merged(before, hashes, replace)
            if merged != before:
                self._write(merged)
            return merged
        finally:
            os.close(guard)

    def _write(self, pinned: Mapping[str, str]) -> None:
        new = self._path.with_name(self._path.name + ".new")
        new.write_text(json.dumps({"version": 1, "tools": dict(sorted(pinned.items()))}, indent=1) + "\n")
        new.replace(self._path)


def _merged(before: Mapping[str, str], hashes: Mapping[str, str], replace: bool) -> dict[str, str]:
    return {**before, **hashes} if replace else {**hashes, **before}
