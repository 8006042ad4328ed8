"""`umbel projects`: trees of files with a history, where accepted results go."""

from pathlib import Path, PurePosixPath

import click

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json
from umbel_client.projects import Snapshot

_project = click.argument("project_id", metavar="ID")


@click.group()
def projects() -> None:
    """Trees of files with a history; accepted results are saved there."""


@projects.command("list")
@as_json
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """All projects."""
    with session.connect() as umbel:
        found = list(umbel.projects.list())
    if as_json:
        print_json([each.raw for each in found])
        return
    rows = [(each.id, render.line(each.name), str(each.head)) for each in found]
    render.table(session.out, ("id", "name", "newest"), rows)


@projects.command()
@click.argument("name")
@pass_session
def new(session: Session, name: str) -> None:
    """Begin a project; prints its id."""
    with session.connect() as umbel:
        click.echo(umbel.projects.begin(name).id)


@projects.command()
@_project
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--message", default="", help="What changed.")
@click.option("--base", type=click.IntRange(min=0), help="Only if this is the newest snapshot.")
@as_json
@pass_session
def save(
    session: Session, project_id: str, paths: tuple[str, ...], message: str, base: int | None, as_json: bool
) -> None:
    """Save files under the paths they are named by; the project's others stay as they are."""
    files = {_inside(path): Path(path).read_bytes() for path in paths}
    with session.connect() as umbel:
        saved = umbel.projects.save(project_id, files, base=base, message=message)
    if as_json:
        print_json(saved.raw)
    else:
        click.echo(saved.number)


@projects.command()
@_project
@as_json
@pass_session
def history(session: Session, project_id: str, as_json: bool) -> None:
    """The snapshots, the newest first."""
    with session.connect() as umbel:
        found = list(umbel.projects.history(project_id))
    if as_json:
        print_json([each.raw for each in found])
        return
    render.table(session.out, ("number", "saved", "files", "task", "message"), [_row(each) for each in found])


def _row(each: Snapshot) -> tuple[str, ...]:
    when, message = render.local_time(each.created_at), render.line(each.message)
    return str(each.number), when, str(each.files), each.task_id or "", message


@projects.command()
@_project
@click.argument("into", metavar="DIRECTORY", type=click.Path(file_okay=False, path_type=Path))
@click.option("--snapshot", type=click.IntRange(min=1), help="Which; by default the newest.")
@pass_session
def get(session: Session, project_id: str, into: Path, snapshot: int | None) -> None:
    """Write a snapshot's files into a new or empty DIRECTORY."""
    if into.exists() and any(into.iterdir()):
        raise click.ClickException(f"{into} is not empty; nothing was written.")
    with session.connect() as umbel:
        number = snapshot or umbel.projects.show(project_id).head
        found = umbel.projects.paths(project_id, number) if number else ()
        for path in found:
            target = into / _inside(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            umbel.projects.get(project_id, number, path, target)
    click.echo(f"{len(found)} files")


@projects.command()
@_project
@pass_session
def rm(session: Session, project_id: str) -> None:
    """Delete a project with its history."""
    with session.connect() as umbel:
        umbel.projects.delete(project_id)


def _inside(path: str) -> str:
    """A path that stays in its tree, whoever named it."""
    parts = PurePosixPath(Path(path).as_posix())
    if parts.is_absolute() or ".." in parts.parts:
        raise click.ClickException(f"{render.safe(path)} does not lie below this directory.")
    return str(parts)


COMMANDS = (projects,)
