"""The state directory of one stack: data, logs, secrets.

Ours alone (mode 700). As root the servers' account must pass through it to its data, so the directory's group is that
account's and may enter but not list (710). A project inside a directory that account cannot traverse, such as /root,
keeps its state under /var/lib/umbel, with a symbolic link at the usual place.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.errors import HomeUnusable
from local.runas import RunAs, server_account

SYSTEM_STATE = Path("/var/lib/umbel")
LONGEST_SOCKET_PATH = 90  # the kernel's limit is 107 bytes; supervisord appends its pid while creating


@dataclass(frozen=True)
class Home:
    """An existing, private state directory and the places inside it."""

    path: Path
    run_as: RunAs

    @property
    def logs(self) -> Path:
        """Log files, rotated by the supervisor."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Pid files, sockets and generated configuration."""
        return self.path / "run"

    @property
    def secrets_file(self) -> Path:
        """Passwords, ports and pepper, kept between starts."""
        return self.path / "secrets.json"

    @property
    def client_env(self) -> Path:
        """What a client needs to speak to this stack."""
        return self.path / "client.env"

    def server_directory(self, name: str) -> Path:
        """A private directory `name`, owned by the servers' account."""
        directory = self.path / name
        directory.mkdir(mode=0o700, exist_ok=True)
        self.run_as.own(directory, 0o700)
        return directory

    def socket(self) -> Path:
        """Where the supervisor listens: in `run`, or in a private directory with a short name if the path is long."""
        inside = self.run / "supervisor.sock"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
            return inside
        short = Path(tempfile.gettempdir()) / f"umbel-{os.geteuid()}-{_digest(self.path)}"
        short.mkdir(mode=0o700, exist_ok=True)
        if short.is_symlink() or short.stat().st_uid != os.geteuid():
            raise HomeUnusable(f"{short} belongs to somebody else; remove it or set UMBEL_HOME to a shorter path")
        short.chmod(0o700)
        return short / "supervisor.sock"

    def write_private(self, path: Path, text: str) -> None:
        """Replace `path` with `text` in one move, readable by nobody else at any moment."""
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
        draft.replace(path)


def open_home(path: Path) -> Home:
    """Make `path` a usable state directory, or find it again.

    Raises HomeUnusable if it exists as something else or cannot be written.
    """
    run_as = server_account()
    try:
        real = _placed(path.absolute(), run_as)
        _make_private(real, run_as)
        home = Home(real, run_as)
        for directory in (home.logs, home.run):
            directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise HomeUnusable(f"cannot keep state in {path}: {error.strerror}; set UMBEL_HOME to another path") from error
    return home


@contextmanager
def temporary_home() -> Iterator[Home]:
    """A state directory for one test, removed afterwards; reachable for the servers' account."""
    path = Path(tempfile.mkdtemp(prefix="umbel-"))
    try:
        yield open_home(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _placed(path: Path, run_as: RunAs) -> Path:
    """The directory that really holds the state of `path`."""
    if path.is_symlink():
        target = path.resolve()
        if not target.exists() and target.parent != SYSTEM_STATE:
            raise HomeUnusable(f"{path} points to {target}, which is gone; remove the link to start afresh")
        return target
    if path.exists() or not run_as.drops or run_as.can_enter(_first_existing(path)):
        return path
    if not SYSTEM_STATE.exists():
        SYSTEM_STATE.mkdir(parents=True)
        SYSTEM_STATE.chmod(0o711)
    target = SYSTEM_STATE / f"{_slug(path.parent.name)}-{_digest(path)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return target


def _first_existing(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.exists())


def _make_private(path: Path, run_as: RunAs) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.geteuid():
        raise HomeUnusable(f"{path} belongs to another user; run as that user or set UMBEL_HOME to another path")
    if run_as.drops:
        os.chown(path, os.geteuid(), run_as.gid)
        path.chmod(0o710)
        if not run_as.can_enter(path):
            raise HomeUnusable(
                f"{run_as.name} cannot enter {path}, and PostgreSQL cannot run as root; move {path.name} away"
                " or set UMBEL_HOME to a path whose parents it can traverse"
            )
    else:
        path.chmod(0o700)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24] or "stack"


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
