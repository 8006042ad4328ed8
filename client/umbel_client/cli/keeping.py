"""Commands about what is kept: files, artifacts."""

from pathlib import Path

import click

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json
from umbel_client.files import Artifact


@click.group()
def files() -> None:
    """Files of the account, for any task to use."""


@files.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Keep it under another name.")
@as_json
@pass_session
def put(session: Session, path: Path, name: str | None, as_json: bool) -> None:
    """Upload a file; prints its id."""
    with session.connect() as umbel:
        kept = umbel.files.put(path, name)
    if as_json:
        print_json(kept.raw)
    else:
        click.echo(kept.id)


@files.command()
@click.argument("file_id", metavar="ID")
@click.option("--to", type=click.Path(path_type=Path), help="Where to; by default its name, here.")
@pass_session
def get(session: Session, file_id: str, to: Path | None) -> None:
    """Download a file; prints where it is."""
    with session.connect() as umbel:
        target = to or Path(umbel.files.show(file_id).name).name
        if to is None and Path(target).exists():
            raise click.ClickException(f"{target} is there already; say where to with --to.")
        umbel.files.get(file_id, Path(target))
    click.echo(target)


@files.command("list")
@click.option("--name", help="Only files of this name.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="At most this many.")
@as_json
@pass_session
def list_(session: Session, name: str | None, limit: int, as_json: bool) -> None:
    """The newest files."""
    with session.connect() as umbel:
        found = list(umbel.files.list(name, limit=limit))
    if as_json:
        print_json([each.raw for each in found])
        return
    rows = [
        (each.id, render.line(each.name), each.media_type, str(each.size), render.local_time(each.created_at))
        for each in found
    ]
    render.table(session.out, ("id", "name", "type", "bytes", "uploaded"), rows)


@files.command()
@click.argument("file_ids", metavar="ID...", nargs=-1, required=True)
@pass_session
def rm(session: Session, file_ids: tuple[str, ...]) -> None:
    """Delete files."""
    with session.connect() as umbel:
        for each in file_ids:
            umbel.files.delete(each)


@click.command()
@click.argument("task_id", metavar="TASK", required=False)
@click.option("--find", "q", metavar="WORDS", help="Only those that have these words; the best first.")
@click.option("--get", "into", type=click.Path(file_okay=False, path_type=Path), help="Download them into a directory.")
@as_json
@pass_session
def artifacts(session: Session, task_id: str | None, q: str | None, into: Path | None, as_json: bool) -> None:
    """What a task made, or all tasks."""
    with session.connect() as umbel:
        found = umbel.artifacts.list(task_id, q=q)
        for each in found if into else ():
            assert into is not None
            into.mkdir(parents=True, exist_ok=True)
            umbel.artifacts.get(each.id, into / _file_name(each))
    if as_json:
        print_json([each.raw for each in found])
        return
    rows = [
        (each.id, each.type, render.line(each.name), f"v{each.version}", each.media_type, str(each.size))
        for each in found
    ]
    render.table(session.out, ("id", "type", "name", "version", "media type", "bytes"), rows)


def _file_name(each: Artifact) -> str:
    """A name that stays inside its directory and meets no other: names are the task's own words."""
    plain = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in each.name)
    return f"{each.id[-8:]}-{plain.lstrip('.')[-150:]}"


COMMANDS = (files, artifacts)
