"""What every sub-command shares: options, the two consoles, and errors turned into one plain line."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from umbel_client._version import __version__
from umbel_client.client import Umbel
from umbel_client.errors import UmbelError


@dataclass
class Session:
    """One run of the command: which server, and where to write."""

    url: str | None = None
    env_file: Path | None = None
    # soft_wrap everywhere: a line in a pipe stays one line, and a terminal wraps by itself.
    out: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    err: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True, stderr=True))

    def connect(self) -> Umbel:
        """Open a client for the chosen server."""
        return Umbel(self.url, env_file=self.env_file)


class ErrorsAsMessages(click.Group):
    """Prints what this client's errors say and exits 1, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command."""
        try:
            return super().invoke(ctx)
        except UmbelError as error:
            raise click.ClickException(str(error)) from error


pass_session = click.make_pass_decorator(Session)
task_id = click.argument("task_id", metavar="ID")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON as the server sent it.")


@click.group(cls=ErrorsAsMessages, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="umbel")
@click.option("--url", metavar="URL", help="The server; default UMBEL_URL, else .umbel/client.env here or above.")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A client.env to read the URL and the key from.",
)
@click.pass_context
def main(ctx: click.Context, url: str | None, env_file: Path | None) -> None:
    """Hand tasks to Umbel, watch them, and see why they do what they do.

    The key comes from UMBEL_API_KEY or from client.env, never from the command line.
    """
    ctx.obj = Session(url, env_file)


def print_json(value: Any) -> None:
    """Indented JSON on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
