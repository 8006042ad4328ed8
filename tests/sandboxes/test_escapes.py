"""Attacks. Each is first played as a plain process, where it must work, so that its failure inside proves something."""

import ast
import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandboxes.conftest import Make, made
from tests.sandboxes.looking import PYTHON, backend_here, every_process, processes
from worker.sandboxes import leftovers
from worker.sandboxes.base import MIB, Backend, Job, Limits, Stopped
from worker.sandboxes.local import LocalSandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Each prints ESCAPED if it worked. `{port}` is a listener of this machine, `{canary}` a file everybody here may read.
ATTACKS = {
    "connects to this machine": "import socket; socket.create_connection(('127.0.0.1', {port}), 2)",
    "sees network interfaces": "import socket; assert len(socket.if_nameindex()) > 1",
    "reads a file": "open('{canary}').read()",
    "reads a file over a symlink": "import os; os.symlink('{canary}', 'l'); open('l').read()",
    "reads a file over ..": "open('../' * 20 + '{canary}'[1:]).read()",
    "reads a file over /proc/1/root": "open('/proc/{pid}/root{canary}').read()",
    "reads users": "open('/etc/passwd').read()",
    "sees processes": "import os; os.stat('/proc/{pid}')",
    "reads an environment": "assert b'PATH' in open('/proc/{pid}/environ', 'rb').read()",
    "signals a process": "import os; os.kill({pid}, 0)",
    "writes beside its work": "open('/var/tmp/{mark}', 'w')",
    "writes to the system": "open('/usr/{mark}', 'w')",
    "writes to devices": "open('/dev/{mark}', 'w')",
    "traces a process": (
        "import ctypes, os, time; child = os.fork()\n"
        "if not child: time.sleep(5); os._exit(0)\n"
        "failed = ctypes.CDLL(None).ptrace(16, child, 0, 0); os.kill(child, 9); assert not failed"
    ),
    "makes a device": "import os, stat; os.mknod('d', 0o600 | stat.S_IFBLK, os.makedev(7, 0)); os.unlink('d')",
    "becomes root": "import os; os.setuid(0)",
    "gives files away": "import os; open('f', 'w').close(); os.chown('f', 1234, 1234)",
    "changes its root": "import os; os.chroot('.')",
    "makes a user namespace": (
        "import ctypes, os; assert not ctypes.CDLL(None).unshare(0x10000000) and os.path.exists('/proc/self/uid_map')"
    ),
    "mounts": (
        "import ctypes, os\nif os.fork():\n assert os.waitstatus_to_exitcode(os.wait()[1]) == 0\nelse:\n"
        " c = ctypes.CDLL(None); os._exit(bool(c.unshare(0x10020000) or c.mount(b't', b'/mnt', b'tmpfs', 0, None)))"
    ),
    "opens a raw link": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "talks to the kernel": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "holds memory nobody counts": "import os; os.memfd_create('hidden')",
    "reads its neighbour's memory": "import os; os.memfd_create('x'); open('/proc/{pid}/mem', 'rb')",
    "runs more often than it may": (
        "import os, time\nfor n in range(150):\n if not os.fork(): time.sleep(0.5); os._exit(0)"
    ),
    "raises its limits": "import resource as r; r.setrlimit(r.RLIMIT_CORE, (1, 1))",
    "takes a larger disk": "f = open('big', 'wb')\nfor n in range(40): f.write(bytes(2**20)); f.flush()",
    "fills the shared memory": (
        "f = open('/dev/shm/{mark}', 'wb')\nfor n in range(40): f.write(bytes(2**20)); f.flush()"
    ),
}
#: They need what a plain user does not have, so only root can play them outside.
ROOTS = {
    "makes a device", "becomes root", "gives files away", "changes its root", "opens a raw link",
    "writes to the system", "writes to devices", "reads an environment", "reads a file over /proc/1/root",
    "reads its neighbour's memory", "mounts", "makes a user namespace",
}  # fmt: skip


#: They use up what the others need.
ALONE = {"runs more often than it may", "takes a larger disk", "fills the shared memory"}
#: Plays each in a process of its own, forked off this one, and prints how each ended.
PLAY = """
import json, os, sys
played = {}
for name, code in json.load(sys.stdin).items():
    heard, said = os.pipe()
    player = os.fork()
    if not player:
        os.dup2(said, 1)
        try:
            exec(code, {})
        except BaseException as error:
            print(repr(error), end="")
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.close(said)
    with os.fdopen(heard) as told:
        played[name] = told.read()
    os.waitpid(player, 0)
print(json.dumps(played))
"""


@pytest.fixture(scope="session")
def told() -> Iterator[dict[str, object]]:
    """What attacks aim at: a listener, a file and a process of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener, subprocess.Popen(["sleep", "1000"]) as victim:
        canary = Path(f"/var/tmp/umbel-canary-{uuid.uuid4().hex}")
        canary.write_text("secret")
        yield {
            "port": listener.getsockname()[1],
            "canary": canary,
            "pid": victim.pid,
            "mark": f"umbel-{uuid.uuid4().hex}",
        }
        victim.kill()
        canary.unlink()


@pytest.fixture(scope="session")
def attacks(told: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each attack as it is played; outside, all this user can play have worked."""
    filled = {name: _aimed(code, told) for name, code in ATTACKS.items()}
    playable = {name: code for name, code in filled.items() if os.geteuid() == 0 or name not in ROOTS}
    place, given = tmp_path_factory.mktemp("outside"), json.dumps(playable)
    outside = subprocess.run([PYTHON, "-c", PLAY], cwd=place, input=given, capture_output=True, text=True, check=True)
    assert json.loads(outside.stdout) == dict.fromkeys(playable, "ESCAPED\n")
    for directory in ("/dev/shm", "/var/tmp", "/usr", "/dev"):
        Path(directory, str(told["mark"])).unlink(missing_ok=True)
    return filled


def _aimed(attack: str, told: dict[str, object]) -> str:
    for word, value in told.items():
        attack = attack.replace(f"{{{word}}}", str(value))
    return attack + "\nprint('ESCAPED')"


async def test_attacks_that_work_outside_fail_inside(
    small: LocalSandbox, attacks: dict[str, str], told: dict[str, object]
) -> None:
    together = {name: code for name, code in attacks.items() if name not in ALONE}
    inside = await small.run(Job(code=PLAY, stdin=json.dumps(together).encode()))
    assert (inside.code, inside.stopped) == (0, None), inside.stderr
    played: dict[str, str] = json.loads(inside.stdout)
    assert set(played) == set(together)
    assert {name: said for name, said in played.items() if "ESCAPED" in said or "Error" not in said} == {}
    for name in sorted(ALONE):
        alone = await small.run(Job(code=attacks[name]))
        assert (b"ESCAPED" not in alone.stdout, alone.code != 0, alone.stopped) == (True, True, None), name
    left = [
        place for place in ("/dev/shm", "/var/tmp", "/usr", "/dev", "/tmp") if Path(place, str(told["mark"])).exists()
    ]
    assert left == []


async def test_a_fork_bomb_is_ended_takes_no_processes_of_another_sandbox_and_its_own_goes_on(make: Make) -> None:
    one, other = await make(wall_s=0.7, processes=40), await make(processes=40)
    begun = asyncio.Event()
    bomb = "import os\nprint('begun', flush=True)\nwhile True:\n try: os.fork()\n except OSError: pass"
    running = asyncio.create_task(one.run(Job(code=bomb), lambda *_: begun.set()))
    await asyncio.wait_for(begun.wait(), 20)
    forks = "import os\nfor n in range(20):\n if not os.fork(): os._exit(0)\n os.wait()\nprint('twenty')"
    assert (await other.run(Job(code=forks))).stdout == b"twenty\n"
    assert (await running).stopped is Stopped.WALL
    assert (await one.run(Job(shell="echo alive; ls /proc | grep -c '^[0-9]'"))).stdout.startswith(b"alive\n")


async def test_memory_shared_out_among_many_processes_is_counted_together(make: Make) -> None:
    sandbox = await make(memory=100 * MIB, wall_s=10)
    code = (
        "import os, time\nfor n in range(10):\n if not os.fork(): x = b'x' * (20 << 20); time.sleep(60)\ntime.sleep(60)"
    )
    assert (await sandbox.run(Job(code=code))).stopped is Stopped.MEMORY


async def test_cpu_time_shared_out_among_children_is_counted_together(make: Make) -> None:
    sandbox = await make(cpu_s=0.4, wall_s=20)
    burn = (
        "import os, time\nwhile True:\n if not os.fork():\n"
        "  while time.process_time() < 0.05: pass\n  os._exit(0)\n os.wait()"
    )
    assert (await sandbox.run(Job(code=burn))).stopped is Stopped.CPU


async def test_a_daemon_that_hides_from_its_parent_does_not_outlive_the_run(make: Make) -> None:
    sandbox = await make()
    daemon = (
        "import os, signal, sys, time\n"
        "for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\n"
        "if os.fork(): sys.exit()\nos.setsid()\nif os.fork(): os._exit(0)\n"
        "os.closerange(0, 3)\nwhile True: time.sleep(1)"
    )
    before = processes(sandbox)
    assert (await sandbox.run(Job(code=daemon))).stopped is None
    assert processes(sandbox) == before


async def test_what_watches_over_the_limits_can_not_be_signalled_from_inside(shared: LocalSandbox) -> None:
    numbers = [int(each) for each in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGKILL)]
    done = await shared.run(Job(code=f"import os\nfor number in {numbers}: os.kill(1, number); print('sent')"))
    assert done.stdout == b"sent\n" * len(numbers)
    assert (await shared.run(Job(shell="echo alive"))).stdout == b"alive\n"


async def test_what_watches_over_the_limits_can_not_be_looked_into(shared: LocalSandbox) -> None:
    files = ["mem", "fd/0", "environ", "cwd/x", "root/x", "maps"]
    code = (
        f"for file in {files}:\n try: open('/proc/1/' + file, 'rb').read(1); print('ESCAPED')\n"
        " except PermissionError: print('refused')"
    )
    assert (await shared.run(Job(code=code))).stdout == b"refused\n" * len(files)


async def test_a_program_with_the_right_to_become_root_does_not(backend: Backend) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make such a program")
    program = Path(f"/var/tmp/umbel-setuid-{uuid.uuid4().hex}")
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    try:
        outside = subprocess.run([program, "-u"], user=12345, capture_output=True, check=True)
        assert outside.stdout == b"0\n"
        sandbox = await made(backend, Limits(), id=program)
        assert (await sandbox.run(Job(argv=["/opt/id", "-u"]))).stdout == b"65534\n"
        await sandbox.destroy()
    finally:
        program.unlink()


async def test_a_flood_of_output_is_cut_and_costs_no_more_than_its_limit(make: Make) -> None:
    sandbox = await make(output=100_000)
    done = await sandbox.run(Job(shell="yes & yes >&2 & wait"))
    assert done.stopped is Stopped.OUTPUT
    assert len(done.stdout) + len(done.stderr) == 100_000


async def test_nothing_is_left_when_who_made_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel would not end, a process and a file here, the next worker does, and leaves those of others."""
    program = f"""
import asyncio, subprocess, sys, tempfile
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.sandboxes.looking import backend_here, processes
from worker.sandboxes import leftovers
from worker.sandboxes.base import Job, Wanted
async def begun(name):
    sandbox, heard = await backend_here(name).create(Wanted()), asyncio.Event()
    job = Job(shell="setsid sleep 1000 & echo begun; sleep 1000")
    running.append(asyncio.create_task(sandbox.run(job, lambda *_: heard.set())))
    await heard.wait()
    return processes(sandbox)
async def main():
    both = await begun("bubblewrap") | await begun("landlock")
    hardy = subprocess.Popen([sys.executable, "-ISc", "import time; time.sleep(1000)", leftovers.mark()])
    tempfile.mkstemp(prefix=leftovers.canary_prefix(), dir={str(tmp_path)!r})
    print((sorted(both), hardy.pid), flush=True)
    await running[0]
running = []
asyncio.run(main())
"""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = await made(backend_here("bubblewrap"), Limits())
    mounts, directories = Path("/proc/self/mountinfo").read_text(), set(os.listdir("/var/tmp"))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        listed, hardy = ast.literal_eval(worker.stdout.readline())
        alive = set(listed)
        assert len(alive) >= 8
        assert (await asyncio.to_thread(leftovers.sweep)).files == 0
        assert {hardy} | {pid for pid, _ in alive} <= set(dict(every_process()))
        worker.kill()
    async with asyncio.timeout(10):
        while alive & set(every_process()):
            await asyncio.sleep(0.01)
    # Which sweep ends the process is open: other workers of this machine that start meanwhile do so, too.
    assert (await asyncio.to_thread(leftovers.sweep)).files == 1
    async with asyncio.timeout(10):
        while hardy in dict(every_process()):
            await asyncio.sleep(0.01)
    assert os.listdir(tmp_path) == []
    assert (Path("/proc/self/mountinfo").read_text(), set(os.listdir("/var/tmp"))) == (mounts, directories)
    assert (await own.run(Job(shell="echo alive"))).stdout == b"alive\n"
    await own.destroy()
