"""One supervisord per home: its configuration, and the questions we ask it over its private socket."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from local.errors import NotRunning, ServerFailed
from local.home import Home
from local.programs import Program

MARK = "UMBEL_STACK"  # every process of a stack carries the path of its home in this variable
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
FILE_DESCRIPTORS = 16_384

_SUPERVISORD = """\
[supervisord]
nodaemon=true
silent=true
identifier={identifier}
logfile={logs}/supervisor.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile={run}/supervisord.pid
childlogdir={logs}
umask=077
minfds={descriptors}
{user}
[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM = """
[program:{name}]
command={command}
directory={directory}
{user}
environment={environment}
priority={priority}
autostart=false
autorestart=true
startsecs=1
startretries=20
stopsignal={stop_signal}
stopwaitsecs={stop_wait_s}
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""


@dataclass(frozen=True)
class ProcessState:
    """What the supervisor says of one program. `state` is its word: RUNNING, STARTING, BACKOFF, FATAL, STOPPED..."""

    name: str
    state: str
    pid: int
    uptime_s: int
    exit_status: int


class Supervisor:
    """The supervisor of one home, running or not."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._socket = home.socket()
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self, programs: Iterable[Program], environment: Mapping[str, str], timeout: float = 20) -> None:
        """Start supervisord with `programs`, none of them started yet.

        Programs that inherit get `environment`; it is never written to disk.
        Raises ServerFailed if it does not answer within `timeout` seconds.
        """
        configuration = self.home.run / "supervisord.conf"
        passed = {name: value for name, value in environment.items() if NAME.fullmatch(name)}
        self.home.write_private(configuration, self._configuration(programs, passed))
        with (self.home.logs / "supervisor.out").open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)],
                cwd="/", env={**passed, MARK: str(self.home.path)}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        deadline = time.monotonic() + timeout
        while self.pid() is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"the supervisor did not start; see {self.home.logs}/supervisor.out")
            time.sleep(0.02)

    def pid(self) -> int | None:
        """The supervisor's process id, or None if none answers for this home."""
        try:
            return int(self._call("getPID"))
        except NotRunning:
            return None

    def start(self, name: str) -> None:
        """Ask for `name` to be started, without waiting."""
        self._call("startProcess", name, False)

    def stop(self, names: Iterable[str]) -> None:
        """Stop `names` together and wait until all have ended."""
        waiting = [state.name for state in self.states() if state.name in set(names) and state.pid]
        for name in names:
            self._ask_to_stop(name)
        while any(state.pid for state in self.states() if state.name in waiting):
            time.sleep(0.05)

    def shutdown(self, timeout: float = 60) -> None:
        """End the supervisor and whatever still runs under it."""
        pid = self.pid()
        if pid is None:
            return
        self._call("shutdown")
        deadline = time.monotonic() + timeout
        while _alive(pid) and time.monotonic() < deadline:
            if self._process is not None:
                self._process.poll()  # reaps it; a zombie would look alive
            time.sleep(0.05)

    def states(self) -> list[ProcessState]:
        """All programs. Raises NotRunning."""
        return [_state(info) for info in self._call("getAllProcessInfo")]

    def state(self, name: str) -> ProcessState:
        """One program. Raises NotRunning."""
        return _state(self._call("getProcessInfo", name))

    def alive(self, name: str) -> Callable[[], bool]:
        """A question for waiting loops: is `name` running or being restarted?"""
        return lambda: self.state(name).state in {"STARTING", "RUNNING", "BACKOFF"}

    def running(self, name: str) -> Callable[[], bool]:
        """A question for waiting loops: has `name` been up for a second?"""
        return lambda: self.state(name).state == "RUNNING"

    def wait(self) -> int:
        """Wait until the supervisor we launched has ended, and return its exit status."""
        return self._process.wait() if self._process else 0

    def log(self, name: str) -> Path:
        """The log file of program `name`."""
        return self.home.logs / f"{name}.log"

    def _ask_to_stop(self, name: str) -> None:
        try:
            self._call("stopProcess", name, False)
        except xmlrpc.client.Fault:  # not running, or unknown because an existing server is used
            return

    def _configuration(self, programs: Iterable[Program], names: Iterable[str]) -> str:
        hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        unlimited = hard_limit == resource.RLIM_INFINITY
        head = _SUPERVISORD.format(
            identifier=f"umbel-{hashlib.sha256(os.fsencode(self.home.path)).hexdigest()[:10]}",
            logs=_escaped(self.home.logs),
            run=_escaped(self.home.run),
            socket=_escaped(self._socket),
            descriptors=FILE_DESCRIPTORS if unlimited else min(hard_limit, FILE_DESCRIPTORS),
            user="user=root" if os.geteuid() == 0 else "",
        )
        return head + "".join(self._section(program, names) for program in programs)

    def _section(self, program: Program, names: Iterable[str]) -> str:
        command = program.command if program.inherits else self._bare(program.command)
        # `env` would still be born with every variable, readable by whoever shares its account: blank them before.
        blanked = [f'{name}=""' for name in names if name != "PATH"]
        return _PROGRAM.format(
            name=program.name,
            command=_escaped(shlex.join(command)),
            environment="" if program.inherits else ",".join(blanked),
            directory=_escaped(program.directory),
            user=f"user={program.user}" if program.user else "",
            priority=program.priority,
            stop_signal=program.stop_signal,
            stop_wait_s=program.stop_wait_s,
            log=_escaped(self.log(program.name)),
        )

    def _bare(self, command: Iterable[str]) -> list[str]:
        """`command` with nothing in its environment but a path and our mark."""
        return ["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", f"{MARK}={self.home.path}", *command]

    def _call(self, method: str, *arguments: Any) -> Any:
        """One question on a connection of its own, so that an interrupted one cannot spoil the next."""
        proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_SocketTransport(str(self._socket)))
        try:
            with proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, HTTPException) as error:
            raise NotRunning("no stack is running here; `make run` or `make up` starts it") from error


class _SocketTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> HTTPConnection:
        connection = _SocketConnection(self._path)
        self._connection = host, connection  # where the base class looks for what to close
        return connection


class _SocketConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


def _state(info: dict[str, Any]) -> ProcessState:
    uptime = info["now"] - info["start"] if info["pid"] else 0
    return ProcessState(info["name"], info["statename"], info["pid"], uptime, info["exitstatus"])


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _escaped(value: object) -> str:
    """Supervisor expands %(name)s in every value."""
    return str(value).replace("%", "%%")
