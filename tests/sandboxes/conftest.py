"""Real sandboxes of this machine, and what they must not leave behind."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import lacking
from tests.sandboxes.looking import backend_here, every_process, processes
from worker.sandboxes.base import MIB, Backend, Limits, Wanted
from worker.sandboxes.choosing import BACKENDS
from worker.sandboxes.errors import SandboxUnavailable
from worker.sandboxes.local import LocalSandbox
from worker.sandboxes.network import Network

Make = Callable[..., Awaitable[LocalSandbox]]


@pytest.fixture(scope="session", params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    return backend_here(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(backend: Backend) -> AsyncIterator[LocalSandbox]:
    """A sandbox of the module's tests together."""
    sandbox = await made(backend, Limits(wall_s=10))
    yield sandbox
    await sandbox.destroy()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small(backend: Backend) -> AsyncIterator[LocalSandbox]:
    """One with room for 16 MiB of files."""
    sandbox = await made(backend, Limits(wall_s=10, disk=16 * MIB))
    yield sandbox
    await sandbox.destroy()


@pytest_asyncio.fixture(loop_scope="module")
async def make(backend: Backend) -> AsyncIterator[Make]:
    """Makes sandboxes; at the end they are destroyed, and nothing may be left of them."""
    sandboxes: list[LocalSandbox] = []
    mounts = Path("/proc/self/mountinfo").read_text()

    async def make(**limits: float) -> LocalSandbox:
        sandboxes.append(await made(backend, Limits(**limits)))  # type: ignore[arg-type]
        return sandboxes[-1]

    yield make
    alive = {each for sandbox in sandboxes for each in processes(sandbox)}
    for sandbox in sandboxes:
        await sandbox.destroy()
    assert alive & set(every_process()) == set()
    assert Path("/proc/self/mountinfo").read_text() == mounts


async def made(backend: Backend, limits: Limits, network: Network | None = None, **shown: Path) -> LocalSandbox:
    places = {f"/opt/{name}": path for name, path in shown.items()}
    try:
        sandbox = await backend.create(Wanted(limits, places, network))
    except SandboxUnavailable as error:
        lacking(f"a sandbox ({error})")
    assert isinstance(sandbox, LocalSandbox)
    return sandbox
