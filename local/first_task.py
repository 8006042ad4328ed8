"""A real task on real input, so that a first start ends with a result in front of the user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from local.errors import TaskNotDone
from local.programs import ROOT

EXAMPLE = "examples/messy.py"


def run_first_task(client_env: Mapping[str, str]) -> None:
    """Have the example cleaned up through the client, watched and with its diff shown.

    Raises TaskNotDone unless it succeeded.
    """
    environment = {**os.environ, **client_env, "PYTHONPATH": str(ROOT / "client")}
    command = [sys.executable, "-m", "umbel_client", "lint-fix", EXAMPLE]
    sys.stdout.flush()
    result = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if result.returncode != 0:
        raise TaskNotDone(
            f"the first task did not succeed (exit {result.returncode}); the logs of web and worker say why"
        )
