"""Sandboxes without bubblewrap: the same walls, built by a program of our own, and Landlock where the kernel has it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from worker.sandboxes import seccomp
from worker.sandboxes.base import WORK, Wanted
from worker.sandboxes.errors import SandboxUnavailable
from worker.sandboxes.local import Launch, LocalSandbox, as_file, start
from worker.sandboxes.system import FILES, LINKED

NAME = "landlock"


class Namespaces:
    """Makes sandboxes with the kernel's own means."""

    name, here = NAME, True

    def __init__(self, first_uid: int, python: str) -> None:
        self._first_uid = first_uid
        self._python = python

    async def create(self, wanted: Wanted) -> LocalSandbox:
        """Make a sandbox.

        Raises:
            SandboxUnavailable: this kernel, or the container around, does not allow it.
        """
        return await start(self._launch, wanted, self._python, self._first_uid)

    def _launch(self, wanted: Wanted, inside: Sequence[str], telling: int) -> Launch:
        try:
            filtered = as_file(seccomp.program())
        except OSError as error:
            raise SandboxUnavailable(str(error.strerror)) from None
        code = as_file(Path(__file__).with_name("enter.py").read_bytes())
        asked = _asked(wanted) | {"inside": list(inside), "telling": telling, "filter": filtered}
        program = f"import os;exec(os.fdopen({code}).read())"
        mark = inside[-1]
        return Launch([self._python, "-I", "-S", "-c", program, json.dumps(asked), mark], [filtered, code])


def _asked(wanted: Wanted) -> dict[str, object]:
    disk = wanted.limits.disk
    links = {name: os.readlink(name) for name in LINKED if os.path.islink(name)}
    shown = ["/usr", *(name for name in LINKED if os.path.isdir(name) and name not in links)]
    shown += [name for name in FILES if os.path.exists(name)]
    return {
        "links": links,
        "shown": {name: name for name in shown} | {place: str(source) for place, source in wanted.shown.items()},
        "memory": {WORK: disk, "/tmp": disk // 2, "/dev/shm": disk // 2},  # noqa: S108  # those inside
        "files": 4 * wanted.limits.files,
    }
