"""Sandboxes at E2B, through its own client, against a stand-in whose machines are sandboxes of this machine."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from config.reach import allowed
from config.settings import Settings
from tests.sandboxes.looking import backend_here
from tests.sandboxes.standin import KEY, StandIn, standing_in
from worker.sandboxes import choosing, e2b, leftovers
from worker.sandboxes.base import MIB, Entry, Job, Limits, Stopped, Stream, Wanted
from worker.sandboxes.bringing import furnished
from worker.sandboxes.errors import PathRefused, SandboxLost, SandboxUnavailable
from worker.sandboxes.keeping import House
from worker.sandboxes.local import LocalSandbox
from worker.sandboxes.network import Network

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standin() -> AsyncIterator[StandIn]:
    async with standing_in(backend_here("bubblewrap")) as standin:
        yield standin


def there(standin: StandIn, key: str = KEY) -> e2b.E2b:
    return e2b.E2b(key, options={"api_url": standin.url, "sandbox_url": standin.url})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def machine(standin: StandIn) -> AsyncIterator[LocalSandbox]:
    sandbox = await there(standin).create(Wanted(Limits(wall_s=10, memory=200 * MIB, output=200_000)))
    yield sandbox
    await sandbox.destroy()


async def test_code_runs_with_input_environment_and_output_as_it_comes(machine: LocalSandbox) -> None:
    told: list[Stream] = []
    code = "import os, sys; print(sys.stdin.read(), os.environ['WORD']); print('err', file=sys.stderr); sys.exit(3)"
    job = Job(code=code, stdin=b"said", env={"WORD": "sky \u20ac"})
    done = await machine.run(job, lambda stream, _: told.append(stream))
    assert (done.code, done.stdout, done.stderr) == (3, "said sky \u20ac\n".encode(), b"err\n")
    assert set(told) == {Stream.STDOUT, Stream.STDERR}
    assert (await machine.run(Job(shell="head -c 3 /dev/zero"))).stdout == bytes(3)


async def test_files_are_written_read_listed_kept_and_refused(machine: LocalSandbox) -> None:
    await machine.write("deep/file.bin", bytes(range(200)))
    assert await machine.read("deep/file.bin", 10, 5) == bytes(range(10, 15))
    taken = await machine.snapshot(MIB)
    assert taken is not None
    await machine.run(Job(shell="rm -r deep; echo new > other"))
    await machine.restore(taken)
    assert await machine.entries() == [Entry("deep", 0, is_directory=True), Entry("deep/file.bin", 200)]
    with pytest.raises(PathRefused):
        await machine.read("../etc/passwd")


@pytest.mark.parametrize(
    ("code", "stopped"),
    [
        ("import time; time.sleep(60)", Stopped.WALL),
        ("x = bytearray(300 << 20)\nwhile True: pass", Stopped.MEMORY),
        ("while True: print('y' * 60000)", Stopped.OUTPUT),
    ],
    ids=["wall", "memory", "output"],
)
async def test_limits_are_those_of_every_sandbox(machine: LocalSandbox, code: str, stopped: Stopped) -> None:
    done = await machine.run(Job(code=code, wall_s=1 if stopped is Stopped.WALL else None))
    assert done.stopped is stopped
    assert len(done.stdout) <= 200_000


async def test_what_a_run_leaves_behind_is_ended(machine: LocalSandbox) -> None:
    daemon = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(1000)"
    assert (await machine.run(Job(code=daemon))).code == 0
    look = (
        "import os\nfor pid in map(int, filter(str.isdigit, os.listdir('/proc'))):\n"
        " if pid != os.getpid() and b'main.py' in open(f'/proc/{pid}/cmdline', 'rb').read(): print(pid)"
    )
    looked = await machine.run(Job(code=look))
    assert (looked.code, looked.stdout) == (0, b""), looked.stderr


async def test_code_that_ends_our_program_there_loses_its_machine_only(standin: StandIn) -> None:
    sandbox = await there(standin).create(Wanted())
    with pytest.raises(SandboxLost):
        await sandbox.run(Job(shell="kill -9 -1; kill -9 $PPID"))
    assert len(standin.machines) == 1, "the others' is there"


async def test_a_machine_has_a_lease_an_owner_and_no_network_but_what_was_named(standin: StandIn) -> None:
    async def addresses(*_: object) -> list[str]:
        return []

    network = Network((allowed("packages.test"), allowed("*.shop.test:80")), addresses)
    sandbox = await there(standin).create(Wanted(network=network))
    await sandbox.destroy()
    assert standin.asked[0]["allow_internet_access"] is False
    asked = standin.asked[-1]
    assert asked["network"] == {"allowOut": ["*.shop.test", "packages.test"], "denyOut": ["0.0.0.0/0"]}
    assert (asked["timeout"], asked["metadata"]) == (e2b.LEASE_S, {"umbel": leftovers.mark()})
    assert "size=134217728,nr_inodes=80000 tmpfs /work" in standin.as_root[-1]
    assert subprocess.run(["/bin/bash", "-n", "-c", standin.as_root[-1]], check=False).returncode == 0
    with pytest.raises(SandboxUnavailable, match="80 and 443"):
        await there(standin).create(Wanted(network=Network((allowed("a.test:22"),), addresses)))


async def test_machines_of_workers_that_are_gone_are_ended_and_no_others(
    standin: StandIn, machine: LocalSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    *same, _, _ = leftovers.mark().split(".")
    monkeypatch.setattr(leftovers, "mark", lambda: ".".join((*same, str(process.pid), "1")))
    await there(standin).create(Wanted())
    monkeypatch.setattr(leftovers, "mark", lambda: "umbel-sandbox.elsewhere-1.1.1")
    elsewhere = await there(standin).create(Wanted())
    assert await there(standin).sweep() == 1
    assert (await machine.run(Job(shell="echo alive"))).stdout == b"alive\n"
    assert (await elsewhere.run(Job(shell="echo alive"))).stdout == b"alive\n"
    await elsewhere.destroy()


async def test_a_wrong_key_is_said_and_the_next_backend_used(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SandboxUnavailable, match="UMBEL_E2B_API_KEY"):
        await there(standin, "e2b_wrong").create(Wanted())
    settings = Settings(environment="development", e2b_api_key="e2b_wrong")  # type: ignore[arg-type]
    monkeypatch.setattr(e2b, "of", lambda _: there(standin, "e2b_wrong"))
    assert (await choosing.choose(settings)).told()["backend"] == "bubblewrap"
    monkeypatch.setattr(e2b, "of", lambda _: there(standin))
    assert (await choosing.choose(settings)).told()["backend"] == "e2b"


async def test_programs_of_the_worker_are_copied_there(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "greet").write_text("echo hello")
    monkeypatch.setattr(e2b, "of", lambda _: there(standin))
    house = House(Settings(environment="development", sandbox="e2b", sandbox_warm=0))
    async with furnished(house, {"tools": tmp_path}, Limits()) as inside:
        done = await inside.room.run(Job(argv=["/bin/sh", f"{inside.places['tools']}/greet"]))
    await house.close()
    assert done.stdout == b"hello\n", done.stderr


async def test_a_machine_that_is_gone_is_lost(standin: StandIn) -> None:
    sandbox = await there(standin).create(Wanted())
    await standin.machines.popitem()[1].destroy()
    with pytest.raises(SandboxLost):
        await sandbox.run(Job(shell="true"))
    await sandbox.destroy()
