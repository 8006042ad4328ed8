"""Which system account the servers run as.

PostgreSQL refuses to run as root, so root hands both servers to `nobody`. Directories are never opened up for it:
whoever cannot be reached by that account is moved or copied instead (`local.home`, `local.binaries`).
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.errors import HomeUnusable


@dataclass(frozen=True)
class RunAs:
    """The uid and gid servers get; `drops` tells whether that differs from our own."""

    uid: int
    gid: int
    name: str
    drops: bool

    def popen_options(self) -> dict[str, Any]:
        """Keyword arguments for `subprocess` that make a child this account, without any further group."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.drops else {}

    def own(self, path: Path, mode: int) -> None:
        """Give `path` to the account with `mode`."""
        path.chmod(mode)
        if self.drops:
            os.chown(path, self.uid, self.gid)

    def can_enter(self, directory: Path) -> bool:
        """Whether the account can traverse to and into `directory`, asked of the kernel and not of mode bits."""
        return self._test("-x", directory)

    def can_run(self, program: Path) -> bool:
        """Whether the account can execute `program`."""
        return self._test("-x", program)

    def _test(self, flag: str, path: Path) -> bool:
        if not self.drops:
            return os.access(path, os.X_OK)
        result = subprocess.run(["/usr/bin/test", flag, str(path)], cwd="/", check=False, **self.popen_options())
        return result.returncode == 0


def server_account() -> RunAs:
    """The account for PostgreSQL and Redis: `nobody` for root, oneself otherwise.

    Raises HomeUnusable where root has no account `nobody`.
    """
    if os.geteuid() != 0:
        return RunAs(os.geteuid(), os.getegid(), "", drops=False)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise HomeUnusable(
            "root cannot run PostgreSQL and this system has no account `nobody`; run as another user"
        ) from None
    return RunAs(entry.pw_uid, entry.pw_gid, entry.pw_name, drops=True)
