"""The `umbel` command."""

from umbel_client.cli import (
    approving,
    assisting,
    control,
    conversing,
    declaring,
    doctor,
    following,
    keeping,
    learned,
    lint_fix,
    patterns,
    projects,
    serving,
    showing,
    submitting,
    tools,
)
from umbel_client.cli.base import main

for module in (
    submitting,
    lint_fix,
    assisting,
    following,
    showing,
    approving,
    conversing,
    control,
    keeping,
    projects,
    declaring,
    tools,
    patterns,
    learned,
    serving,
    doctor,
):
    for command in module.COMMANDS:
        main.add_command(command)

__all__ = ["main"]
