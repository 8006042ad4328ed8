"""A real task on real input, so that a first start ends with a result in front of the user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

from local.console import say
from local.errors import TaskNotDone
from local.programs import ROOT

EXAMPLE = "examples/messy.py"
#: Carried out without a sandbox, which not every container allows.
PLAIN = '{"steps": [{"say": "Umbel works."}]}'


def run_first_task(client_env: Mapping[str, str]) -> None:
    """Have the example cleaned up through the client, watched and with its diff shown.

    Where no sandbox can be made, say why, and have a plain task carried out instead.

    Raises TaskNotDone unless it succeeded.
    """
    code = _umbel(client_env, "lint-fix", EXAMPLE)
    if code and (reason := _no_sandbox(client_env)):
        say(f"\nThis machine makes no sandboxes, so tasks that run code or linters are refused:\n  {reason}\n")
        code = _umbel(client_env, "submit", "probe", "--input", PLAIN, "--watch")
    if code:
        raise TaskNotDone(f"the first task did not succeed (exit {code}); the logs of web and worker say why")


def _umbel(client_env: Mapping[str, str], *arguments: str) -> int:
    sys.stdout.flush()
    return subprocess.run(_command(arguments), cwd=ROOT, env=_environment(client_env), check=False).returncode


def _no_sandbox(client_env: Mapping[str, str]) -> str | None:
    """Return why the newest task that failed had no sandbox, if that was the reason."""
    asked = _command(("list", "--status", "failed", "--limit", "1", "--json"))
    done = subprocess.run(asked, cwd=ROOT, env=_environment(client_env), check=False, capture_output=True)
    try:
        (task,) = json.loads(done.stdout)
        error = task["error"]
        return str(error["message"]) if error["code"] == "sandbox_unavailable" else None
    except (ValueError, KeyError, TypeError):
        return None


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "umbel_client", *arguments]


def _environment(client_env: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **client_env, "PYTHONPATH": str(ROOT / "client")}
