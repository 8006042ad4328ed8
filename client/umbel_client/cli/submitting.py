"""`umbel submit`."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json
from umbel_client.cli.following import exit_for, follow


class JsonInput(click.ParamType[dict[str, Any]]):
    """A JSON object given as text, as @file, or as - for standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Read and parse the value."""
        if isinstance(value, dict):
            return value
        try:
            parsed = json.loads(_read(value))
        except (OSError, ValueError) as error:
            self.fail(f"not readable as JSON: {error}", param, ctx)
        if not isinstance(parsed, dict):
            self.fail("the input of a task is a JSON object, like '{\"steps\": []}'", param, ctx)
        return parsed


def standard_input() -> str:
    """Return what is piped in, or typed by a person, who is told what is waited for."""
    if sys.stdin.isatty():
        click.echo("Type it here and end with Ctrl-D, or give a file, or pipe it in.", err=True)
    return sys.stdin.read()


def _read(value: str) -> str:
    if value == "-":
        return standard_input()
    return Path(value[1:]).read_text("utf-8") if value.startswith("@") else value


def pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`k=v` options as a dictionary."""
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r} is not of the form key=value", ctx, param)
    return {name: rest for name, _, rest in (value.partition("=") for value in values)}


@click.command()
@click.argument("workflow")
@click.option("--input", "input_", type=JsonInput(), default={}, metavar="JSON|@FILE|-", help="The input, an object.")
@click.option("--tag", "tags", multiple=True, help="A tag; may be repeated.")
@click.option("--meta", "metadata", multiple=True, callback=pairs, metavar="K=V", help="Metadata; may be repeated.")
@click.option("--key", help="Idempotency key: the same key and input give the same task again.")
@click.option("--watch", is_flag=True, help="Follow the task until it ends.")
@as_json
@pass_session
def submit(
    session: Session,
    workflow: str,
    input_: dict[str, Any],
    tags: tuple[str, ...],
    metadata: dict[str, str],
    key: str | None,
    watch: bool,
    as_json: bool,
) -> None:
    """Hand in a task for WORKFLOW and print its id."""
    with session.connect() as umbel:
        task = umbel.submit(workflow, input_, idempotency_key=key, tags=tags, metadata=metadata)
        if watch:
            session.err.print(f"Task {render.safe(task.id)}")
            task = follow(session, umbel, task.id)
    if as_json:
        print_json(task.raw)
    elif watch:
        session.out.print(render.summary(task))
    else:
        click.echo(task.id)
    if watch:
        exit_for(task)


COMMANDS = (submit,)
