"""What a sandbox does: runs code and programs, streams their output, keeps files, and ends what goes too far."""

import asyncio

import pytest

from tests.sandboxes.conftest import Make
from tests.sandboxes.looking import backend_here, every_process, processes
from worker.sandboxes.base import MIB, Backend, Job, Stopped, Stream
from worker.sandboxes.errors import PathRefused, SandboxLost
from worker.sandboxes.local import LocalSandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="session", params=["bubblewrap"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """The program inside is the same in all; the walls are tested with each."""
    return backend_here(request.param)


async def test_code_runs_and_its_output_and_exit_code_come_back(shared: LocalSandbox) -> None:
    done = await shared.run(Job(code="import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert (done.code, done.stdout, done.stderr, done.stopped) == (3, b"out\n", b"err\n", None)


async def test_a_shell_line_and_a_program_run_with_stdin_and_environment(shared: LocalSandbox) -> None:
    done = await shared.run(Job(shell="read word; echo $word $COLOUR", stdin=b"sky\n", env={"COLOUR": "blue"}))
    assert done.stdout == b"sky blue\n"
    assert (await shared.run(Job(argv=["/bin/echo", "$HOME", ";"]))).stdout == b"$HOME ;\n"
    assert (await shared.run(Job(argv=["no-such-program"]))).code == 127


async def test_text_of_any_kind_passes_both_ways_and_what_is_no_text_is_an_error_only(shared: LocalSandbox) -> None:
    odd = "ä \\ \" ' \n €\U0001f600"
    done = await shared.run(Job(code=f"import os; print(os.environ['ODD'] == {odd!r})", env={"ODD": odd}))
    assert done.stdout == b"True\n", done.stderr
    with pytest.raises(PathRefused, match="ä") as refusal:
        await shared.read(f"missing {odd}")
    assert "\\ \" '" in str(refusal.value)
    assert (await shared.run(Job(argv=["/bin/echo", "\ud800"]))).code == 127
    assert (await shared.run(Job(shell="echo alive"))).stdout == b"alive\n"


async def test_large_input_passes_through(shared: LocalSandbox) -> None:
    done = await shared.run(Job(shell="wc -c", stdin=b"x" * 3 * MIB))
    assert done.stdout.strip() == str(3 * MIB).encode()
    assert (await shared.run(Job(shell="true", stdin=b"x" * MIB))).code == 0


async def test_the_environment_is_empty_but_for_what_is_given(shared: LocalSandbox) -> None:
    done = await shared.run(Job(argv=["/usr/bin/env"]))
    assert {line.partition(b"=")[0] for line in done.stdout.splitlines()} == {b"PATH", b"HOME", b"TMPDIR", b"LANG"}


async def test_output_is_told_as_it_comes(make: Make) -> None:
    sandbox, first = await make(), asyncio.Event()
    told: list[tuple[Stream, bytes]] = []

    def hear(stream: Stream, piece: bytes) -> None:
        told.append((stream, piece))
        first.set()

    code = "import time; print('first'); time.sleep(30)"
    running = asyncio.create_task(sandbox.run(Job(code=code), hear))
    await asyncio.wait_for(first.wait(), 20)
    assert told[0][0] is Stream.STDOUT
    assert told[0][1].startswith(b"first")
    running.cancel()
    assert await asyncio.gather(running, return_exceptions=True) != []


async def test_files_stay_from_run_to_run_and_processes_do_not(shared: LocalSandbox) -> None:
    await shared.write("package/said.py", b"WORD = 'imported'")
    await shared.run(Job(shell="(setsid sleep 1000 &) ; sleep 1000 & echo kept > kept.txt"))
    done = await shared.run(Job(code="from package.said import WORD; print(WORD, open('kept.txt').read())"))
    assert done.stdout == b"imported kept\n\n"
    assert (await shared.run(Job(shell="ls /proc | grep -c '^[0-9]'"))).stdout.strip() <= b"4"


async def test_files_are_written_read_in_part_and_listed(make: Make) -> None:
    sandbox = await make()
    await sandbox.write("deep/down/file.bin", bytes(range(200)))
    await sandbox.write("tool", b"#!/bin/sh\necho ran", executable=True)
    assert await sandbox.read("deep/down/file.bin", 10, 5) == bytes(range(10, 15))
    assert (await sandbox.run(Job(argv=["./tool"]))).stdout == b"ran\n"
    listed = [(each.path, each.size, each.is_directory) for each in await sandbox.entries()]
    assert listed == [
        ("deep", 0, True),
        ("deep/down", 0, True),
        ("deep/down/file.bin", 200, False),
        ("tool", 18, False),
    ]


async def test_a_snapshot_brings_the_files_into_another_sandbox(make: Make) -> None:
    one, other = await make(), await make()
    await one.run(Job(shell="mkdir d; echo text > d/a; ln -s d/a link; printf x > run; chmod +x run"))
    await other.write("old.txt", b"goes")
    taken = await one.snapshot(MIB)
    assert taken is not None
    await other.restore(taken)
    assert [each.path for each in await other.entries()] == ["d", "d/a", "link", "run"]
    assert (await other.run(Job(shell="cat link; test -x run && echo x"))).stdout == b"text\nx\n"


async def test_a_snapshot_larger_than_allowed_is_none(shared: LocalSandbox) -> None:
    await shared.run(Job(shell="head -c 2000000 /dev/urandom > noise"))
    assert await shared.snapshot(MIB) is None
    await shared.run(Job(shell="rm noise"))


@pytest.mark.parametrize(
    "path", ["../etc/ld.so.cache", "/usr/bin/env", "missing", "pipe", "out/ld.so.cache", ".", "a\0b"]
)
async def test_what_is_no_file_of_the_work_directory_is_refused(shared: LocalSandbox, path: str) -> None:
    await shared.run(Job(shell="test -p pipe || mkfifo pipe; ln -sfn /etc out"))
    with pytest.raises(PathRefused):
        await shared.read(path)
    assert (await shared.run(Job(shell="echo alive"))).stdout == b"alive\n"


@pytest.mark.parametrize(
    ("code", "limits", "stopped"),
    [
        ("while True: pass", {"wall_s": 0.3}, Stopped.WALL),
        ("import time; time.sleep(100)", {"wall_s": 0.3}, Stopped.WALL),
        ("while True: pass", {"cpu_s": 0.2}, Stopped.CPU),
        ("x = bytearray(300 << 20)\nwhile True: pass", {"memory": 100 * MIB}, Stopped.MEMORY),
        ("import sys\nwhile True: sys.stdout.write('y' * 65536)", {}, Stopped.OUTPUT),
        ("for n in range(10**6): open(f'f{n}', 'w').close()", {"files": 500}, Stopped.FILES),
    ],
    ids=["loop", "sleep", "cpu", "memory", "output", "files"],
)
async def test_what_meets_a_limit_is_ended_and_the_limit_named(
    make: Make, code: str, limits: dict[str, float], stopped: Stopped
) -> None:
    sandbox = await make(**{"wall_s": 10, **limits})
    done = await sandbox.run(Job(code=code))
    assert (done.stopped, done.code) == (stopped, 137)
    assert len(done.stdout) <= MIB
    assert (await sandbox.run(Job(shell="echo alive"))).stdout == b"alive\n"


async def test_one_process_gets_no_more_address_space_than_allowed(make: Make) -> None:
    sandbox = await make(process_memory=200 * MIB)
    done = await sandbox.run(Job(code="bytearray(300 << 20)"))
    assert b"MemoryError" in done.stderr


async def test_a_cancelled_run_ends_its_sandbox(make: Make) -> None:
    sandbox, begun = await make(wall_s=60), asyncio.Event()
    code = "import time; print('begun', flush=True); time.sleep(60)"
    running = asyncio.create_task(sandbox.run(Job(code=code), lambda *_: begun.set()))
    await asyncio.wait_for(begun.wait(), 20)
    alive = processes(sandbox)
    assert len(alive) >= 3
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert alive & set(every_process()) == set()
    with pytest.raises(SandboxLost):
        await sandbox.run(Job(shell="true"))


async def test_runs_of_one_sandbox_follow_one_another(shared: LocalSandbox) -> None:
    jobs = [shared.run(Job(shell=f"echo {n} >> order; wc -l < order")) for n in range(3)]
    assert [done.stdout.strip() for done in await asyncio.gather(*jobs)] == [b"1", b"2", b"3"]
