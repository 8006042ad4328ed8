"""The script that runs before anything is installed."""

import sys
from pathlib import Path

import pytest

from local import venv


def test_an_old_python_is_told_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"3\.11 or later and this is 3\.9\.2.*PYTHON="):
        venv.require_python()


def test_without_ensurepip_an_ordinary_user_is_told_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match=r"sudo apt-get install -y python3\.\d+-venv"):
        venv.provide_ensurepip()


def test_an_installed_lock_is_not_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.touch()
    monkeypatch.setattr(venv, "STAMP", str(tmp_path / "stamp"))
    monkeypatch.setattr(venv, "PYTHON", str(python))
    venv.write_stamp(venv.digests("requirements-dev.txt") | {venv.identity()})
    monkeypatch.setattr(venv, "pip", lambda *arguments: pytest.fail("installed again"))
    venv.main("requirements-local.txt")


@pytest.mark.parametrize("lock", [*venv.LOCKS, "local/redis-server.txt", "local/uv.txt"])
def test_a_lock_pins_by_hash_and_names_no_place(lock: str) -> None:
    text = (Path(venv.ROOT) / lock).read_text(encoding="utf-8")
    pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert pins
    assert all("==" in pin and pin.endswith("\\") and "+" not in pin.split("==")[1] for pin in pins)
    assert not any(word in text for word in ("http://", "https://", "file:", "--index-url", "--find-links", " /"))


def test_what_installs_the_locks_is_the_version_they_hold() -> None:
    (pin,) = [line for line in Path(venv.UV_LOCK).read_text(encoding="utf-8").splitlines() if "==" in line]
    assert pin in (Path(venv.ROOT) / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("failing", ["-m pip install --require-hashes -r", "/uv pip install"])
def test_what_uv_cannot_install_pip_does(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def call(command: list[str], **options: object) -> int:
        done.append(" ".join(command).replace("--disable-pip-version-check --quiet ", ""))
        return int(failing in done[-1] and (len(done) == 1 or "/uv " in done[-1]))

    monkeypatch.setattr("subprocess.call", call)
    venv.install("some.txt")
    assert done[-1].endswith("-m pip install --require-hashes -r some.txt")
    monkeypatch.setattr("subprocess.call", lambda command, **options: done.append(" ".join(command)) or 0)
    venv.install("other.txt")
    assert "/uv pip install --require-hashes -r other.txt" in done[-1]


def test_uv_looks_where_pip_is_told_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/somewhere")
    monkeypatch.setenv("PIP_CERT", "/some.crt")
    found = venv.as_pip()
    assert (found["UV_FIND_LINKS"], found["SSL_CERT_FILE"]) == ("/somewhere", "/some.crt")


def test_each_lock_holds_the_smaller_one() -> None:
    pins = [
        {
            line.split(" ")[0]
            for line in (Path(venv.ROOT) / lock).read_text(encoding="utf-8").splitlines()
            if "==" in line
        }
        for lock in venv.LOCKS
    ]
    assert pins[0] <= pins[1] <= pins[2]
