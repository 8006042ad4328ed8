"""`umbel lint-fix`: clean up Python files, and see or take the changes."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.text import Text

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json
from umbel_client.cli.following import exit_for, follow
from umbel_client.cli.local_files import LocalFile, apply_result, read_files
from umbel_client.cli.showing import patches
from umbel_client.client import Umbel
from umbel_client.models import Task, mapping


@click.command("lint-fix")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--apply", "apply_", is_flag=True, help="Write the changes to the files and accept the result.")
@click.option("--tag", "tags", multiple=True, help="A tag; may be repeated.")
@click.option("--key", help="Idempotency key.")
@as_json
@pass_session
def lint_fix(
    session: Session, paths: tuple[str, ...], apply_: bool, tags: tuple[str, ...], key: str | None, as_json: bool
) -> None:
    """Have ruff fix and format FILE..., watch it happen, and show the diffs.

    Nothing is written without --apply. Exit 0 only if the task succeeded.
    """
    files = read_files([Path(path) for path in paths])
    work = {"mode": "lint_fix", "files": [file.as_input() for file in files]}
    with session.connect() as umbel:
        task = umbel.submit("code_assist", work, idempotency_key=key, tags=tags)
        session.err.print(f"Task {render.safe(task.id)}")
        task = umbel.wait(task.id) if as_json else follow(session, umbel, task.id)
        report(session, task, as_json)
        exit_for(task)
        if apply_:
            take(session, umbel, task, files)
        elif not as_json:
            advise(session, task)


def report(session: Session, task: Task, as_json: bool) -> None:
    """Diffs, explanation, what is left to do by hand, and the summary."""
    if as_json:
        print_json(task.raw)
        return
    for patch in patches(task):
        render.diff(session.out, patch)
    result = mapping(task.result)
    if result.get("explanation"):
        session.out.print(Text("\n" + render.safe(result["explanation"]), style="bold"))
    remaining = result.get("diagnostics") or ()
    if remaining:
        session.out.print(Text(f"Left to do by hand ({len(remaining)}):", style="yellow"))
    for entry in remaining:
        session.out.print(Text("  " + render.diagnostic(entry)))
    session.out.print(render.summary(task))


def take(session: Session, umbel: Umbel, task: Task, files: Sequence[LocalFile]) -> None:
    """Write the changes, then record that they were accepted."""
    written = apply_result(task.result, files)
    umbel.accept(task.id)
    session.err.print(f"Changed {render.line(', '.join(written))}." if written else "Nothing to change.")


def advise(session: Session, task: Task) -> None:
    """Say how the changes can be taken."""
    if patches(task):
        session.err.print(f"Nothing was written. Take it: umbel show {task.id} --patch | git apply")


COMMANDS = (lint_fix,)
