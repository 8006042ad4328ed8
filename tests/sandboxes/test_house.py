"""Which backend is used and told of, how many sandboxes there may be, and that none is left."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from config.settings import Settings
from models.base import new_id
from models.database import Database
from models.repositories import workers
from models.scope import ENGINE, SystemScope
from tests.conftest import lacking
from tests.sandboxes.looking import every_process, processes
from web.readiness import Readiness
from worker.sandboxes import choosing
from worker.sandboxes.base import Job
from worker.sandboxes.errors import SandboxBusy, SandboxUnavailable
from worker.sandboxes.keeping import House
from worker.sandboxes.local import LocalSandbox


def wanted(**given: object) -> Settings:
    return Settings(environment="development", **given)  # type: ignore[arg-type]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House(wanted(sandbox_max=2, sandbox_warm=1))
    if (choice := await house.choice()).backend is None:
        lacking(choice.detail)
    yield house
    await house.close()


async def test_the_backend_is_found_by_trying_it_and_told(house: House) -> None:
    told = (await house.choice()).told()
    assert told["backend"] in choosing.BACKENDS
    assert told["detail"].startswith(told["backend"])


async def test_a_sandbox_holds_its_place_until_it_is_destroyed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.sandboxes.keeping.WAIT_S", 0.05)
    async with await house.open() as one, await house.open():
        assert (await one.run(Job(shell="echo here"))).stdout == b"here\n"
        with pytest.raises(SandboxBusy):
            await house.open()
    async with await house.open() as other:
        assert (await other.run(Job(shell="ls"))).stdout == b""


async def test_at_the_end_of_a_worker_none_is_left(house: House) -> None:
    room = await house.open()
    assert isinstance(room._sandbox, LocalSandbox)
    alive = processes(room._sandbox)
    assert house._warming is not None
    await house._warming
    (warm,) = house._warm
    assert isinstance(warm, LocalSandbox)
    alive |= processes(warm)
    await house.close()
    assert len(alive) >= 4
    assert alive & set(every_process()) == set()


async def test_a_backend_whose_walls_are_missing_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    readable = choosing._CHECK.replace("open(canary)", "open('/usr/bin/env')")
    monkeypatch.setattr(choosing, "_CHECK", readable)
    choice = await choosing.choose(wanted())
    with pytest.raises(SandboxUnavailable, match="does not keep in what it must: files"):
        choice.usable()


async def test_without_bubblewrap_landlock_is_used_or_the_refusal_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    choice = await choosing.choose(wanted(sandbox="bubblewrap"))
    with pytest.raises(SandboxUnavailable, match="install the package bubblewrap"):
        choice.usable()
    assert (await choosing.choose(wanted())).told()["backend"] == "landlock"
    with pytest.raises(SandboxUnavailable, match="UMBEL_SANDBOX"):
        (await choosing.choose(wanted(sandbox="none"))).usable()


async def test_more_at_once_than_places_wait_and_all_run(house: House) -> None:
    async def once(number: int) -> bytes:
        async with await house.open() as sandbox:
            return (await sandbox.run(Job(shell=f"echo {number}"))).stdout

    assert await asyncio.gather(*map(once, range(6))) == [f"{number}\n".encode() for number in range(6)]


@pytest.mark.stack
def test_readiness_names_the_backend_or_the_cure(settings: Settings, database: Database) -> None:
    scope, name = SystemScope("tests"), f"sandbox-{new_id()}"

    def tell(told: dict[str, str]) -> None:
        database.run(partial(workers.seen, scope=ENGINE, name=name, running=0, capacity=1, version="1", models={}))
        database.run(partial(workers.tell_sandbox, scope=ENGINE, name=name, told=told))

    try:
        tell({"backend": "bubblewrap", "detail": "bubblewrap, with /usr/bin/python3"})
        assert {"bubblewrap"} <= {each["backend"] for each in database.run(partial(workers.sandboxes, scope=scope))}
        tell({"backend": "", "detail": "bubblewrap is not installed; install the package bubblewrap"})
        check = Readiness(settings, database).report()["sandboxes"]
        assert not check["ok"]
        assert "install the package" in check["detail"]
    finally:
        database.run(partial(workers.gone, scope=ENGINE, name=name))
