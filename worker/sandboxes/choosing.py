"""Which way to make sandboxes works on this machine: each is tried with a real one, and its walls are checked."""

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from config.settings import Settings
from worker.sandboxes import e2b
from worker.sandboxes.base import Backend, Job, Limits, Wanted
from worker.sandboxes.bubblewrap import Bubblewrap
from worker.sandboxes.errors import SandboxError, SandboxUnavailable
from worker.sandboxes.leftovers import canary_prefix
from worker.sandboxes.namespaces import Namespaces

#: Those of this machine, in the order they are preferred.
BACKENDS: dict[str, Callable[[int, str], Backend]] = {"bubblewrap": Bubblewrap, "landlock": Namespaces}
#: Prints each wall that is missing: a file of this machine that can be read, its network, its processes.
_CHECK = """
import os, socket, sys
canary, port, pid = sys.stdin.read().split("\\n")
def missing(name, attempt):
    try:
        attempt()
        print(name)
    except OSError:
        pass
missing("files", lambda: open(canary))
missing("network", lambda: socket.create_connection(("127.0.0.1", int(port)), 2))
missing("processes", lambda: os.kill(int(pid), 0))
print("checked")
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend that is used, or why there is none."""

    backend: Backend | None
    detail: str

    def usable(self) -> Backend:
        """Return the backend.

        Raises:
            SandboxUnavailable: there is none; the message says why and what helps.
        """
        if self.backend is None:
            raise SandboxUnavailable(self.detail)
        return self.backend

    def told(self) -> dict[str, str]:
        """Return what others are told of it: `backend`, empty if there is none, and `detail`."""
        return {"backend": self.backend.name if self.backend else "", "detail": self.detail}


async def choose(settings: Settings) -> Choice:
    """Try the allowed backends and return the first whose walls stand."""
    if settings.sandbox == "none":
        return Choice(None, "sandboxes are switched off; set UMBEL_SANDBOX=auto on the workers")
    reasons = []
    for name in _allowed(settings):
        try:
            return await _tried(name, settings)
        except SandboxError as error:
            reasons.append(f"{name}: {error}")
    log.warning("no sandbox works here", extra={"reasons": reasons})
    return Choice(None, f"no sandbox works on this worker; {'; '.join(reasons)}")


def _allowed(settings: Settings) -> list[str]:
    if settings.sandbox != "auto":
        return [settings.sandbox]
    return [*([e2b.NAME] if settings.e2b_api_key.get_secret_value() else []), *BACKENDS]


async def _tried(name: str, settings: Settings) -> Choice:
    if name == e2b.NAME:
        there = e2b.of(settings)
        await there.sweep()
        await _try(there, "print('checked')")  # what is of this machine is not there to be looked for
        return Choice(there, f"{name}, in machines of their own")
    python = _python()
    if python is None:
        raise SandboxUnavailable("there is no Python under /usr to run code with; install python3")
    backend = BACKENDS[name](settings.sandbox_first_uid, python)
    await _try(backend, _CHECK)
    return Choice(backend, f"{name}, with {python}")


async def _try(backend: Backend, check: str) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    file, canary = tempfile.mkstemp(prefix=canary_prefix())
    os.fchmod(file, 0o644)
    try:
        sandbox = await backend.create(Wanted(Limits(wall_s=10)))
        try:
            done = await sandbox.run(Job(code=check, stdin=f"{canary}\n{port}\n{os.getpid()}".encode()))
        finally:
            await sandbox.destroy()
    finally:
        server.close()
        os.close(file)
        os.unlink(canary)
    if done.stdout != b"checked\n":
        said = (done.stdout + done.stderr).decode(errors="replace").split()
        raise SandboxUnavailable(f"it does not keep in what it must: {' '.join(said)[:300]}")


def _python() -> str | None:
    # Only /usr is shown inside, so a Python elsewhere would not be found there.
    own = os.path.realpath(sys.executable)
    found = (each for each in (own, "/usr/local/bin/python3", "/usr/bin/python3") if each.startswith("/usr/"))
    return next((each for each in found if os.access(each, os.X_OK)), None)
