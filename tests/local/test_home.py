"""Where state lives and who can read it."""

import os
import stat
from pathlib import Path

import pytest

from local.errors import HomeUnusable
from local.home import Home, open_home
from local.ports import free_port, is_free
from local.vault import Vault

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops privileges")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_can_look_into_a_home(home: Home) -> None:
    assert mode(home.path) & 0o067 == 0
    assert mode(home.logs) == mode(home.run) == 0o700
    assert mode(home.server_directory("postgres")) == 0o700


def test_secrets_and_ports_are_found_again_and_private(home: Home) -> None:
    first = Vault(home)
    secret, port = first.secret("pepper"), first.port("redis_port")
    later = Vault(open_home(home.path))
    assert (later.secret("pepper"), later.port("redis_port")) == (secret, port)
    assert mode(home.secrets_file) == 0o600


def test_a_port_taken_meanwhile_is_picked_anew_and_remembered(home: Home, unused_listener: int) -> None:
    vault = Vault(home)
    home.write_private(home.secrets_file, f'{{"redis_port": {unused_listener}}}')
    picked = vault.usable_port("redis_port")
    assert picked != unused_listener
    assert Vault(home).port("redis_port") == picked


def test_a_damaged_secrets_file_is_named_and_never_overwritten(home: Home) -> None:
    home.secrets_file.write_text("{", encoding="utf-8")
    with pytest.raises(HomeUnusable, match=r"secrets\.json"):
        Vault(home).secret("pepper")
    assert home.secrets_file.read_text(encoding="utf-8") == "{"


@as_root
def test_below_a_closed_directory_state_moves_away_and_the_directory_stays_closed(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system_state = home.path.with_name(f"{home.path.name}-system")
    monkeypatch.setattr("local.home.SYSTEM_STATE", system_state)
    closed = tmp_path / "closed"
    project = closed / "My Project"
    project.mkdir(parents=True)
    closed.chmod(0o700)
    opened = open_home(project / ".umbel")
    try:
        assert opened.path.parent == system_state
        assert (project / ".umbel").resolve() == opened.path
        assert open_home(project / ".umbel") == opened
        assert mode(closed) == 0o700
        assert mode(opened.path) == 0o710
    finally:
        for path in (opened.logs, opened.run, opened.path, system_state):
            path.rmdir()


@as_root
def test_a_home_of_another_user_is_refused(home: Home) -> None:
    directory = home.server_directory("foreign")
    with pytest.raises(HomeUnusable, match="belongs to another user"):
        open_home(directory)


def test_a_long_path_still_gets_a_socket(home: Home) -> None:
    deep = home.path / ("d" * 60) / ("e" * 60)
    socket = Home(deep, home.run_as).socket()
    assert len(os.fsencode(socket)) <= 90
    assert mode(socket.parent) == 0o700
    socket.parent.rmdir()


def test_a_free_port_is_free() -> None:
    assert is_free("127.0.0.1", free_port())
