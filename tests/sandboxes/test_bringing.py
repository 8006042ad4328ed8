"""Programs of the worker inside a sandbox: shown where its user can read them, else copied in."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import gettempdir

import pytest

from config.settings import Settings
from tests.conftest import lacking
from worker.sandboxes.base import MIB, Job, Limits
from worker.sandboxes.bringing import COPIED, SHOWN, furnished
from worker.sandboxes.errors import SandboxUnavailable
from worker.sandboxes.keeping import House


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House(Settings(environment="development", sandbox_warm=0))
    if (choice := await house.choice()).backend is None:
        lacking(choice.detail)
    yield house
    await house.close()


@pytest.fixture
def open_to_all(tmp_path: Path) -> Path:
    """A directory others may read, all the way from the root."""
    for each in (tmp_path, *tmp_path.parents):
        if each == Path(gettempdir()):
            break
        each.chmod(0o755)
    return tmp_path


def program(directory: Path) -> Path:
    directory.mkdir()
    script = directory / "greet"
    script.write_text("#!/bin/sh\necho hello $(cat $(dirname $0)/name)\n")
    script.chmod(0o755)
    (directory / "name").write_text("there")
    return directory


async def greeted(house: House, tools: Path) -> tuple[str, bytes, int]:
    async with furnished(house, {"tools": tools}, Limits()) as inside:
        done = await inside.room.run(Job(argv=[f"{inside.places['tools']}/greet"]))
        spoilt = await inside.room.run(Job(shell=f"echo x > {inside.places['tools']}/name"))
    return inside.places["tools"], done.stdout, spoilt.code


async def test_what_all_may_read_is_shown_in_place_and_cannot_be_changed(house: House, open_to_all: Path) -> None:
    place, said, code = await greeted(house, program(open_to_all / "tools"))
    assert (place, said) == (f"{SHOWN}/tools", b"hello there\n")
    assert code != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's sandboxes have a user of their own")
async def test_what_only_root_may_read_is_copied_in(house: House, tmp_path: Path) -> None:
    home = tmp_path / "root"
    home.mkdir(mode=0o700)
    place, said, _ = await greeted(house, program(home / "tools"))
    assert (place, said) == (f"{COPIED}/tools", b"hello there\n")
    (home / "tools" / "large").write_bytes(bytes(2 * MIB))
    with pytest.raises(SandboxUnavailable, match="UMBEL_SANDBOX_DISK_MB"):
        async with furnished(house, {"tools": home / "tools"}, Limits(disk=MIB)):
            pass
