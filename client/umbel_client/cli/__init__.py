"""The `umbel` command."""

from umbel_client.cli import approving, control, doctor, following, lint_fix, showing, submitting
from umbel_client.cli.base import main

for module in (submitting, lint_fix, following, showing, approving, control, doctor):
    for command in module.COMMANDS:
        main.add_command(command)

__all__ = ["main"]
