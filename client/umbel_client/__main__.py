"""`python -m umbel_client` is the `umbel` command."""

from umbel_client.cli import main

main(prog_name="umbel")
