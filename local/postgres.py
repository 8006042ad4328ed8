"""PostgreSQL 18 from the wheel, driven directly.

The superuser `postgres` and the role `umbel`, which owns the database `umbel` and may create others, each have a
generated password (SCRAM). It listens on loopback TCP only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
from psycopg2 import sql

from local.binaries import postgres_programs
from local.errors import ServerFailed
from local.home import Home
from local.server import HOST, Server

SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "256MB",
    "io_method": "sync",  # saves three worker processes
    "jit": "off",
    "log_min_error_statement": "panic",  # statements hold what users sent
    "log_checkpoints": "off",
}
DATABASE = "umbel"


class PostgresServer(Server):
    """A PostgreSQL server with data in `<home>/postgres`.

    `settings` are further server settings, `{"fsync": "off"}` for example.
    """

    name = "postgres"
    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": ends sessions and writes a checkpoint

    def __init__(
        self, home: Home | Path, *, port: int | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(home, port=port)
        self.settings = {**SETTINGS, **(settings or {}), "port": str(self.port)}
        self.programs = postgres_programs(self.home)

    @property
    def url(self) -> str:
        """The product's database as role `umbel`."""
        return self._url("umbel", DATABASE)

    @property
    def admin_url(self) -> str:
        """The maintenance database as superuser."""
        return self._url("postgres", "postgres")

    def prepare(self) -> None:
        """Create the cluster if there is none, and forget a stale pid file."""
        if not (self.data / "PG_VERSION").exists():
            self._create_cluster()
        self._forget_stale_pid()

    def command(self) -> list[str]:
        """`postgres` in the foreground."""
        self.settings["port"] = str(self.port)
        options = [f"--{name}={value}" for name, value in self.settings.items()]
        return [str(self.programs / "postgres"), "-D", str(self.data), *options]

    def answers(self) -> bool:
        """Whether the superuser can log in."""
        try:
            with closing(psycopg2.connect(self.admin_url, connect_timeout=2)):
                return True
        except psycopg2.OperationalError:
            return False

    def settle(self) -> None:
        """Create the product's role and database if they are missing."""
        with closing(psycopg2.connect(self.admin_url, connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("select 1 from pg_roles where rolname = 'umbel'")
                if cursor.fetchone() is None:
                    password = sql.Literal(self.vault.secret("postgres_umbel"))
                    cursor.execute(sql.SQL("create role umbel login createdb password {}").format(password))
                cursor.execute("select 1 from pg_database where datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("create database {} owner umbel").format(sql.Identifier(DATABASE)))
        self._extend()

    def _extend(self) -> None:
        """Create pgvector in the product's database, which only the superuser may."""
        with closing(psycopg2.connect(self._url("postgres", DATABASE), connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("create extension if not exists vector")

    def stop(self, timeout: float = 20, *, immediate: bool = False) -> None:
        """Stop cleanly, or at once and without a checkpoint when `immediate` (recovery follows at the next start)."""
        self._end(signal.SIGQUIT if immediate else self.stop_signal, timeout)

    def _create_cluster(self) -> None:
        """Run initdb beside the final place, then one move: an interrupted initdb leaves nothing half made."""
        draft = self.home.server_directory("postgres.new")
        password_file = draft.with_name("postgres.password")
        self.home.write_private(password_file, self.vault.secret("postgres_postgres"))
        self.home.run_as.own(password_file, 0o600)
        try:
            self._initdb(draft, password_file)
        finally:
            password_file.unlink()
        self.data.rmdir()
        draft.replace(self.home.path / self.name)

    def _initdb(self, draft: Path, password_file: Path) -> None:
        for leftover in draft.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        command = [
            str(self.programs / "initdb"), "-D", str(draft), "-U", "postgres", "--pwfile", str(password_file),
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8", "--set=shared_buffers=128MB", "--set=max_connections=200",
        ]  # fmt: skip
        environment = {"PATH": "/usr/bin:/bin", "TZ": os.environ.get("TZ", "UTC")}
        result = subprocess.run(
            command, cwd=draft, env=environment, capture_output=True, text=True, check=False,
            **self.home.run_as.popen_options(),
        )  # fmt: skip
        if result.returncode != 0:
            raise ServerFailed(f"initdb failed: {result.stderr.strip()}")

    def _forget_stale_pid(self) -> None:
        """Remove `postmaster.pid` if its number now belongs to a process that is no server of this cluster."""
        file = self.data / "postmaster.pid"
        try:
            pid = int(file.read_text(encoding="utf-8").split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return
        if not serves(pid, self.data):
            file.unlink()

    def _url(self, role: str, database: str) -> str:
        return f"postgresql://{role}:{self.vault.secret(f'postgres_{role}')}@{HOST}:{self.port}/{database}"


def serves(pid: int, data: Path) -> bool:
    """Whether process `pid` is a PostgreSQL server working in `data`."""
    try:
        return Path(psutil.Process(pid).cwd()) == data.resolve()
    except (psutil.Error, OSError):
        return False
