"""Start and stop everything, in order, and say how it goes."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from local import survivors
from local.configuration import environment_of, flower_login, load, uses_existing
from local.console import say
from local.errors import AlreadyRunning, NotRunning, ServerFailed
from local.existing import require_answer
from local.home import Home
from local.migrations import migrated
from local.ports import require_free
from local.postgres import PostgresServer
from local.programs import ROOT, Program, product_programs, server_program
from local.readiness import flower_answers, mcp_answers, web_ready
from local.redis import RedisServer
from local.server import Server
from local.supervision import Supervisor
from local.vault import Vault

Report = Callable[[str], None]
START_WITHIN_S = 180  # a busy small machine takes its time; a process that keeps ending is noticed earlier
TRIES = 3


class Stack:
    """The whole of one home. `report` receives one line of progress at a time."""

    def __init__(self, home: Home, report: Report = say) -> None:
        self.home = home
        self.report = report
        self.vault = Vault(home)
        self.supervisor = Supervisor(home)
        self.servers: list[Server] = []
        self.settings = load(home, self.vault, [])
        self.environment: Mapping[str, str] = {}
        self._began = time.monotonic()

    def start(self) -> None:
        """Bring everything up. Stops what it started if something fails.

        Raises AlreadyRunning, PortBusy, BinaryMissing, ServerUnreachable or ServerFailed.
        """
        with self.alone():
            self._refuse_second_start()
            self._clean_up()
            try:
                self._start_servers()
                self._migrate()
                self._start_product()
            except BaseException:
                self._stop()
                raise

    def stop(self) -> None:
        """Bring everything down, the servers last. Raises NotRunning if nothing runs."""
        with self.alone():
            if not self._stop():
                raise NotRunning("no stack is running here")

    def stop_if_running(self) -> None:
        """Bring everything down that still runs."""
        with self.alone():
            self._stop()

    def end_survivors(self) -> None:
        """After the supervisor itself was killed: end what it left behind."""
        with self.alone():
            self._clean_up()

    def _refuse_second_start(self) -> None:
        pid = self.supervisor.pid()
        if pid is not None:
            raise AlreadyRunning(f"already running (pid {pid}); `make down` stops it, `make status` shows it")

    def _clean_up(self) -> None:
        left = survivors.left_behind(self.home)
        if left:
            self.report(f"A killed run left processes behind; ended {', '.join(survivors.end(left))}")
        for stale in ("supervisord.pid", "supervisor.sock"):
            (self.home.run / stale).unlink(missing_ok=True)

    def _start_servers(self) -> None:
        require_free(self.settings.web_host, self.settings.web_port, "UMBEL_WEB_PORT")
        require_free("127.0.0.1", self.settings.flower_port, "UMBEL_FLOWER_PORT")
        require_free("127.0.0.1", self.settings.mcp_port, "UMBEL_MCP_PORT")
        self.servers = self._own_servers()
        for server in self.servers:
            if not any(server.data.iterdir()):
                self.report(f"{server.title}: first start, creating its data")
            server.prepare()
        self.settings = load(self.home, self.vault, self.servers)
        self.environment = environment_of(self.home, self.vault, self.settings, self.servers)
        self.supervisor.launch(self._programs(), self.environment)
        for server in self.servers:
            self.supervisor.start(server.name)
        for server in self.servers:
            server.wait_ready(START_WITHIN_S, self.supervisor.alive(server.name))
            self._ready(server.title, f"127.0.0.1:{server.port}")

    def _own_servers(self) -> list[Server]:
        """The servers nobody brought by URL, on ports that are free now."""
        wanted: list[Server] = []
        for kind, field in ((PostgresServer, "database_url"), (RedisServer, "redis_url")):
            if uses_existing(field):
                require_answer(field, getattr(self.settings, field).get_secret_value())
                self.report(f"{kind.title:<12} the one in UMBEL_{field.upper()}")
            else:
                self.vault.usable_port(f"{kind.name}_port")
                wanted.append(kind(self.home))
        return wanted

    def _programs(self) -> Sequence[Program]:
        servers = [server_program(server, 10 * (place + 1)) for place, server in enumerate(self.servers)]
        return [*servers, *product_programs(self.home, self.settings)]

    def _migrate(self) -> None:
        if migrated(
            self.settings.database_url.get_secret_value()
        ):  # saves starting alembic, seconds on a small machine
            self._ready("migrations", "up to date")
            return
        log = self.supervisor.log("migrate")
        with log.open("wb") as output:
            result = subprocess.run(
                [sys.executable, "-m", "alembic", "upgrade", "head"], cwd=ROOT, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False,
            )  # fmt: skip
        if result.returncode != 0:
            raise ServerFailed(f"migrations failed; {log} ends:\n{self._last_lines('migrate')}")
        self._ready("migrations", "applied")

    def _start_product(self) -> None:
        names = ("web", "worker", "rescue", "beat", "flower", "mcp")
        for name in names:
            self.supervisor.start(name)
        self._wait("web", lambda: web_ready(self.settings))
        self._ready("web", f"port {self.settings.web_port}")
        for name in ("worker", "rescue", "beat"):
            self._wait(name, self.supervisor.running(name))
            self._ready(name, "running")
        self._wait("flower", lambda: flower_answers(self.settings, flower_login(self.vault)))
        self._ready("Flower", f"port {self.settings.flower_port}")
        self._wait("mcp", lambda: mcp_answers(self.settings))
        self._ready("MCP server", f"port {self.settings.mcp_port}")

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        pids: set[int] = set()
        while not ready():
            state = self.supervisor.state(name)
            pids.add(state.pid)
            hopeless = state.state == "FATAL" or len(pids - {0}) > TRIES
            if hopeless or time.monotonic() > deadline:
                log = self.supervisor.log(name)
                why = "keeps ending" if hopeless else f"is not ready after {START_WITHIN_S} s"
                raise ServerFailed(f"{name} {why}; {log} ends:\n{self._last_lines(name)}")
            time.sleep(0.05)

    def _stop(self) -> bool:
        """Stop what runs: the product at once, then the servers in reverse. False if nothing ran."""
        try:
            states = self.supervisor.states()
        except NotRunning:
            return False
        for names in (("flower", "beat", "mcp"), ("web", "worker", "rescue"), ("redis",), ("postgres",)):
            running = [state.name for state in states if state.name in names and state.state != "STOPPED"]
            if running:
                self.supervisor.stop(running)
                self.report(f"stopped {', '.join(running)}")
        self.supervisor.shutdown()
        return True

    def _ready(self, title: str, detail: str) -> None:
        self.report(f"{title:<12} {detail:<18} {time.monotonic() - self._began:5.1f} s")

    def _last_lines(self, name: str, count: int = 15) -> str:
        log = self.supervisor.log(name)
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else "(empty)"
        return "\n".join(text.splitlines()[-count:])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One start or stop at a time; the kernel lets go of the lock when its holder dies."""
        with (self.home.run / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(
                    "another start or stop of this stack is under way; try again when it is done"
                ) from None
            yield
