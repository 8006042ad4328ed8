"""edits: real changes of Python files, from source distributions of two successive versions of a package."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

#: Package, and two versions with a release's worth of work between them.
RELEASES = (
    ("flask", "3.0.3", "3.1.0"),
    ("werkzeug", "3.0.6", "3.1.0"),
    ("jinja2", "3.1.4", "3.1.5"),
    ("click", "8.1.7", "8.1.8"),
    ("requests", "2.31.0", "2.32.3"),
    ("httpx", "0.27.2", "0.28.0"),
    ("rich", "13.8.1", "13.9.0"),
    ("celery", "5.4.0", "5.5.0"),
    ("kombu", "5.4.2", "5.5.0"),
    ("urllib3", "2.2.3", "2.3.0"),
    ("attrs", "24.2.0", "24.3.0"),
    ("pytest", "8.2.2", "8.3.0"),
    ("starlette", "0.40.0", "0.41.0"),
    ("tornado", "6.4.2", "6.5"),
)
#: Files with more lines make the measuring long, not better.
LINES_MAX = 6000


class Pair(NamedTuple):
    """A file before and after a release; None where there was or is none."""

    package: str
    path: str
    before: str | None
    after: str | None


def pairs(folder: Path, say: Callable[[str], None], packages: int) -> list[Pair]:
    """Return what changed in the Python files of the first so many packages; distributions are kept in the folder."""
    found: list[Pair] = []
    for name, *versions in RELEASES[:packages]:
        old, new = (_files(_fetched(folder, name, version)) for version in versions)
        changed = [path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]
        found += [Pair(name, path, old.get(path), new.get(path)) for path in changed]
        say(f"edits: {name} {' to '.join(versions)}: {len(changed)} files")
    return found


def _fetched(folder: Path, name: str, version: str) -> Path:
    place = folder / f"{name}-{version}"
    if not place.exists():
        place.mkdir(parents=True)
        wanted = ("--no-deps", "--no-binary", ":all:", "--quiet", "--disable-pip-version-check", f"{name}=={version}")
        command = [sys.executable, "-m", "pip", "download", *wanted, "--dest", str(place)]
        try:
            subprocess.run(command, check=True, env={**os.environ, "PIP_NO_INPUT": "1"})
        except subprocess.CalledProcessError:
            place.rmdir()
            raise
    return next(place.glob("*.tar.gz"))


def _files(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as tar:
        return dict(_texts(tar))


def _texts(tar: tarfile.TarFile) -> Iterator[tuple[str, str]]:
    for member in tar:
        path = member.name.partition("/")[2]
        file = tar.extractfile(member) if member.isfile() and path.endswith(".py") else None
        content = file.read() if file else b"\0"
        if b"\0" in content or content.count(b"\n") > LINES_MAX:
            continue
        try:
            yield path, content.decode()
        except UnicodeDecodeError:
            continue
