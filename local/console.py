"""Lines for the person at the terminal."""

from __future__ import annotations

import os
import sys


def say(line: str = "") -> None:
    """Print `line` at once. A reader who went away (a closed terminal, `| head`) must not stop us half way."""
    try:
        print(line, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
