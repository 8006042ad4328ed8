"""A server run directly, without the supervisor: for tests and the fault harness."""

from __future__ import annotations

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from local.errors import NotRunning, ServerFailed
from local.home import Home, open_home
from local.ports import is_free
from local.vault import Vault

HOST = "127.0.0.1"
#: How often a server whose port was taken while it started tries another.
PORT_TRIES = 3


class Server(ABC):
    """One server process with its own data, port and password under a home.

    The same data, port and password are found again by every later instance with the same home, so `kill()` followed
    by `start()` is a restart. Usable as a context manager.
    """

    name: str
    title: str
    stop_signal = signal.SIGTERM

    def __init__(self, home: Home | Path, *, port: int | None = None) -> None:
        self.home = home if isinstance(home, Home) else open_home(home)
        self.vault = Vault(self.home)
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._port or self.vault.port(f"{self.name}_port")

    @property
    def pid(self) -> int:
        """The server's process id. Raises NotRunning."""
        if self._process is None or self._process.poll() is not None:
            raise NotRunning(f"{self.title} is not running; call start()")
        return self._process.pid

    @property
    def data(self) -> Path:
        """The data directory, owned by the servers' account."""
        return self.home.server_directory(self.name)

    @property
    def log(self) -> Path:
        """Everything the server printed."""
        return self.home.logs / f"{self.name}.log"

    @property
    @abstractmethod
    def url(self) -> str:
        """Where and as whom a client connects; holds the password."""

    @abstractmethod
    def prepare(self) -> None:
        """Make data and configuration ready for `command()`; harmless when they are."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line of the server in the foreground, without secrets."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server accepts our password and answers."""

    def settle(self) -> None:  # noqa: B027 - most servers need nothing
        """Finish what needs a running server; harmless when done."""

    def start(self, timeout: float = 30) -> Self:
        """Start and wait until it answers, at most `timeout` seconds.

        Raises ServerFailed with the end of the log if it ends or stays silent.
        """
        for _ in range(PORT_TRIES - 1):
            try:
                return self._started(timeout)
            except ServerFailed:
                if not self._lost_its_port():
                    raise
        return self._started(timeout)

    def _lost_its_port(self) -> bool:
        """Whether it ended because somebody took its port between our look and its bind."""
        ended = self._process is not None and self._process.poll() is not None
        return ended and self._port is None and not is_free(HOST, self.port)

    def _started(self, timeout: float) -> Self:
        if self._port is None:
            self.vault.usable_port(f"{self.name}_port")
        self.prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.data, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": "/usr/bin:/bin"}, start_new_session=True, **self.home.run_as.popen_options(),
            )  # fmt: skip
        self.wait_ready(timeout, alive=lambda: self._process is not None and self._process.poll() is None)
        return self

    def wait_ready(self, timeout: float, alive: Callable[[], bool]) -> None:
        """Wait until the server answers and `settle()`. Raises ServerFailed."""
        deadline = time.monotonic() + timeout
        while not self.answers():
            if not alive() or time.monotonic() > deadline:
                raise ServerFailed(f"{self.title} did not start; its log {self.log} ends:\n{self.last_lines()}")
            time.sleep(0.02)
        self.settle()

    def stop(self, timeout: float = 20) -> None:
        """Stop cleanly, or by force after `timeout` seconds. Harmless when stopped."""
        self._end(self.stop_signal, timeout)

    def kill(self) -> None:
        """End every process of the server at once, as a crash of the machine would (SIGKILL)."""
        for process in self._tree():
            _signal(process, signal.SIGKILL)
        self._end(signal.SIGKILL, 10)

    def freeze(self) -> None:
        """Suspend every process of the server (SIGSTOP): connections stay open and nothing answers."""
        for process in self._tree():
            _signal(process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        for process in self._tree():
            _signal(process, signal.SIGCONT)

    def last_lines(self, count: int = 15) -> str:
        """The last lines of the log."""
        if not self.log.exists():
            return "(empty)"
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])

    def _tree(self) -> list[psutil.Process]:
        try:
            leader = psutil.Process(self.pid)
            return [leader, *leader.children(recursive=True)]
        except (psutil.NoSuchProcess, NotRunning):
            return []

    def _end(self, with_signal: signal.Signals, timeout: float) -> None:
        if self._process is None:
            return
        tree = self._tree()
        if tree:
            _signal(tree[0], with_signal)
            _signal(tree[0], signal.SIGCONT)  # a frozen server would never see it
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            for process in tree:
                _signal(process, signal.SIGKILL)
            self._process.wait(10)
        psutil.wait_procs(tree[1:], timeout=10)
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
