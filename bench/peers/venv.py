"""The peers' virtual environment, `.venv-peers`: made at first need from a hash-pinned lock."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LOCK = Path(__file__).with_name("requirements.txt")
VENV = ROOT / ".venv-peers"


@lru_cache(maxsize=1)
def python() -> Path:
    """Return the peers' interpreter, installing them first if the lock changed.

    Raises:
        subprocess.CalledProcessError: the installation failed; what pip said was printed.
    """
    with (ROOT / ".venv-peers.lock").open("w") as alone:  # several processes may need it first at once
        fcntl.flock(alone, fcntl.LOCK_EX)
        return _installed()


def _installed() -> Path:
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    stamp, interpreter = VENV / "installed-lock", VENV / "bin" / "python"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return interpreter
    print(f"Installing the peers into {VENV.name} (once; a minute or two)", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes"]
    subprocess.run([*pip, "-r", str(LOCK)], check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return interpreter
