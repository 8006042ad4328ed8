"""`umbel tools`: what agents may do."""

import os
from pathlib import Path
from typing import Any

import click

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json
from umbel_client.cli.submitting import JsonInput, standard_input

secret_env = click.option(
    "--secret-env", metavar="NAME", help="The environment variable that has the secret; it is never an argument."
)


@click.group()
def tools() -> None:
    """What agents may do: built-in tools, and HTTP tools of your own."""


@tools.command("list")
@as_json
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """All tools, built-in ones first."""
    with session.connect() as umbel:
        found = list(umbel.tools.list())
    if as_json:
        print_json([each.raw for each in found])
        return
    rows = [(each.name, each.kind, each.effect, each.secret or "", render.line(each.description)) for each in found]
    render.table(session.out, ("name", "kind", "effect", "secret", "description"), rows)


@tools.command()
@click.argument("name")
@pass_session
def show(session: Session, name: str) -> None:
    """One HTTP tool, as JSON."""
    with session.connect() as umbel:
        print_json(umbel.tools.get(name).raw)


@tools.command()
@click.argument("name")
@click.argument("definition", type=JsonInput(), metavar="JSON|@FILE|-")
@secret_env
@click.option("--version", type=click.IntRange(min=0), help="Replace this version only; 0: only create.")
@pass_session
def put(session: Session, name: str, definition: dict[str, Any], secret_env: str | None, version: int | None) -> None:
    """Create or replace an HTTP tool."""
    given = definition if secret_env is None else {**definition, "secret": _secret(secret_env)}
    with session.connect() as umbel:
        made = umbel.tools.put(name, given, version=version)
    session.out.print(f"{made.name}: version {made.version}, {made.effect}, secret {made.secret}", markup=False)


@tools.command()
@click.argument("name")
@pass_session
def remove(session: Session, name: str) -> None:
    """Forget an HTTP tool and its secret."""
    with session.connect() as umbel:
        umbel.tools.remove(name)
    session.out.print(f"{name} is gone", markup=False)


@tools.command("import")
@click.argument("document", metavar="FILE|-")
@click.option("--base-url", metavar="URL", help="Instead of the servers the document names.")
@click.option("--prefix", help="Stands before every name.")
@click.option("--only", multiple=True, metavar="ID", help="An operationId to take; may be repeated. Default all.")
@click.option("--auth", help="bearer, header:NAME or query:NAME, instead of what the document says.")
@secret_env
@click.option("--approval", is_flag=True, help="A person must approve calls that are unsafe to repeat.")
@click.option("--replace", is_flag=True, help="Replace tools of these names that are there.")
@click.option("--dry-run", is_flag=True, help="Only say what would be made.")
@as_json
@pass_session
def import_(
    session: Session, /, document: str, only: tuple[str, ...], secret_env: str | None, as_json: bool, **options: Any
) -> None:
    """Make tools of the operations of an OpenAPI document, JSON or YAML."""
    secret = None if secret_env is None else _secret(secret_env)
    with session.connect() as umbel:
        done = umbel.tools.import_openapi(_text(document), only=only or None, secret=secret, **options)
    if as_json:
        print_json(done.raw)
        return
    made = [(each["name"], each["operation"], each["effect"], each.get("secret") or "") for each in done.imported]
    render.table(session.out, ("name", "operation", "effect", "secret"), made)
    for each in done.refused:
        session.err.print(
            f"not taken: {render.line(each['operation'])}: {render.line(each['reason'], 400)}", markup=False
        )


def _secret(variable: str) -> str:
    found = os.environ.get(variable)
    if not found:
        raise click.UsageError(f"The environment has no {variable}.")
    return found


def _text(document: str) -> str:
    try:
        return standard_input() if document == "-" else Path(document).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{document} is not readable as text: {error}") from error


COMMANDS = (tools,)
