"""What dies comes back, what is stopped is gone, and a second start knows about the first."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from local.errors import AlreadyRunning, NotRunning, PortBusy, ServerUnreachable, SettingInvalid
from local.existing import require_answer
from local.home import Home
from local.ports import free_port
from local.programs import Program, server_program
from local.redis import RedisServer
from local.stack import Stack
from local.supervision import Supervisor
from local.survivors import end, left_behind

SLEEPER = Program(
    "sleeper", "sleeper", (sys.executable, "-c", "import time; time.sleep(1000)"), 10, directory=Path("/")
)
DEAF = replace(
    SLEEPER,
    name="deaf",
    command=(
        sys.executable,
        "-c",
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)",
    ),
    stop_wait_s=1,
)


def eventually(condition: Callable[[], object], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def supervisor(home: Home) -> Iterator[Supervisor]:
    supervisor = Supervisor(home)
    yield supervisor
    supervisor.shutdown()
    end(left_behind(home))
    supervisor.wait()


def running(supervisor: Supervisor, name: str) -> int:
    eventually(lambda: supervisor.state(name).state == "RUNNING")
    return supervisor.state(name).pid


def test_a_killed_program_is_started_again(supervisor: Supervisor) -> None:
    supervisor.launch([SLEEPER], {})
    supervisor.start("sleeper")
    pid = running(supervisor, "sleeper")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: supervisor.state("sleeper").pid not in (0, pid))
    running(supervisor, "sleeper")


def test_a_killed_redis_comes_back_with_its_keys(supervisor: Supervisor, home: Home) -> None:
    server = RedisServer(home)
    server.prepare()
    supervisor.launch([server_program(server, 10)], {})
    supervisor.start("redis")
    server.wait_ready(20, supervisor.alive("redis"))
    os.kill(supervisor.state("redis").pid, signal.SIGKILL)
    eventually(lambda: not server.answers())
    eventually(server.answers)


def test_a_program_that_ignores_the_request_is_ended_by_force(supervisor: Supervisor) -> None:
    supervisor.launch([DEAF], {})
    supervisor.start("deaf")
    eventually(lambda: supervisor.log("deaf").exists() and "deaf" in supervisor.log("deaf").read_text("utf-8"))
    pid = supervisor.state("deaf").pid
    supervisor.stop(["deaf"])
    assert not psutil.pid_exists(pid)


def test_a_program_that_inherits_sees_the_environment_and_a_server_does_not(supervisor: Supervisor) -> None:
    bare = replace(SLEEPER, name="bare", inherits=False)
    supervisor.launch([SLEEPER, bare], {"UMBEL_KEY_PEPPER": "50% \"quoted\" 'secret'", "PATH": os.environ["PATH"]})
    for name in ("sleeper", "bare"):
        supervisor.start(name)
    seen = psutil.Process(running(supervisor, "sleeper")).environ()
    assert seen["UMBEL_KEY_PEPPER"] == "50% \"quoted\" 'secret'"
    assert set(psutil.Process(running(supervisor, "bare")).environ()) == {"PATH", "UMBEL_STACK"}
    for file in supervisor.home.run.glob("*.conf"):
        assert "quoted" not in file.read_text(encoding="utf-8")


def test_shutting_down_leaves_nothing_running(supervisor: Supervisor, home: Home) -> None:
    supervisor.launch([SLEEPER], {})
    supervisor.start("sleeper")
    pid = running(supervisor, "sleeper")
    supervisor.shutdown()
    assert not psutil.pid_exists(pid)
    assert left_behind(home) == []
    with pytest.raises(NotRunning, match="make run"):
        supervisor.states()


def test_what_a_killed_supervisor_leaves_behind_is_found_and_ended(supervisor: Supervisor, home: Home) -> None:
    server = RedisServer(home)
    server.prepare()
    supervisor.launch([SLEEPER, server_program(server, 20)], {})
    for name in ("sleeper", "redis"):
        supervisor.start(name)
    pids = {running(supervisor, "sleeper"), running(supervisor, "redis")}
    os.kill(supervisor.pid() or 0, signal.SIGKILL)
    supervisor.wait()
    assert {process.pid for process in left_behind(home)} == pids
    lines: list[str] = []
    Stack(home, lines.append).end_survivors()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert "redis-server" in lines[0]


def test_a_second_start_says_who_runs_and_how_to_stop_it(supervisor: Supervisor, home: Home) -> None:
    supervisor.launch([SLEEPER], {})
    with pytest.raises(AlreadyRunning, match=rf"pid {supervisor.pid()}.*make down"):
        Stack(home).start()


def test_a_busy_port_is_named_with_its_holder_and_the_setting(
    home: Home, unused_listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting in ("UMBEL_WEB_PORT", "UMBEL_FLOWER_PORT", "UMBEL_MCP_PORT"):
        for other in ("UMBEL_WEB_PORT", "UMBEL_FLOWER_PORT"):
            monkeypatch.setenv(other, "0")
        monkeypatch.setenv(setting, str(unused_listener))
        with pytest.raises(PortBusy, match=rf"port {unused_listener} .*pid {os.getpid()}.*{setting}="):
            Stack(home).start()
    assert left_behind(home) == []


def test_two_starts_at_once_do_not_meet(home: Home) -> None:
    stack = Stack(home)
    with stack.alone(), pytest.raises(AlreadyRunning, match="under way"):
        Stack(home).start()


def test_a_malformed_setting_is_named_without_its_value(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_WEB_PORT", "s3cret")
    with pytest.raises(SettingInvalid, match="UMBEL_WEB_PORT") as caught:
        Stack(home)
    assert "s3cret" not in str(caught.value)


def test_a_redis_named_by_url_that_is_not_there_is_one_line_and_nothing_starts(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMBEL_REDIS_URL", f"redis://:confidential@127.0.0.1:{free_port()}/0")
    for name in ("WEB", "FLOWER", "MCP"):
        monkeypatch.setenv(f"UMBEL_{name}_PORT", str(free_port()))
    monkeypatch.delenv("UMBEL_DATABASE_URL", raising=False)  # other tests of this process may have set it
    lines: list[str] = []
    with pytest.raises(ServerUnreachable, match=r"UMBEL_REDIS_URL.*unset") as raised:
        Stack(home, lines.append).start()
    assert "confidential" not in str(raised.value)
    assert lines == []


@pytest.mark.parametrize("url", ["postgresql://umbel:confidential@127.0.0.1:1/umbel", "host:confidential", "a=b=c d"])
def test_a_database_that_does_not_let_us_in_is_named_without_its_password(url: str) -> None:
    with pytest.raises(ServerUnreachable, match="UMBEL_DATABASE_URL") as raised:
        require_answer("database_url", url)
    assert "confidential" not in str(raised.value)


def test_stopping_what_does_not_run_says_so(home: Home) -> None:
    with pytest.raises(NotRunning):
        Stack(home).stop()
