"""`umbel generate-test` and `umbel explain`: help with the user's own files; nothing is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json
from umbel_client.cli.following import exit_for, follow
from umbel_client.cli.local_files import read_files
from umbel_client.cli.showing import patches
from umbel_client.models import Task, mapping

files = click.argument(
    "paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False)
)
model = click.option("--model", help="A configured model; without it the default.")
prompt = click.option("--prompt", help="What you want of it besides.")


class Lines(click.ParamType[tuple[int, int]]):
    """Lines of a file as `3-10` or `3`."""

    name = "lines"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read the numbers."""
        first, _, last = str(value).partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            self.fail("lines are given as 3-10, or as 3", param, ctx)
        return int(first), int(last or first)


@click.command("generate-test")
@files
@click.option("--line", type=click.IntRange(min=1), help="A line of the first file: test only the function there.")
@model
@prompt
@as_json
@pass_session
def generate_test(
    session: Session, paths: tuple[str, ...], line: int | None, model: str | None, prompt: str | None, as_json: bool
) -> None:
    """Have tests written for the first FILE, with the others beside it, and played; show them and how they ended.

    Without a model they are written from names and annotations. Exit 0 if the task succeeded, whatever the tests did.
    """
    sent = _files(paths)
    work = _work("generate_test", sent, model, prompt)
    if line is not None:
        work["cursor"] = {"file": sent[0]["path"], "line": line}
    task = _done(session, work, as_json)
    if task is None:
        return
    for patch in patches(task):
        render.diff(session.out, patch)
    for case in mapping(mapping(task.result).get("tests")).get("cases") or ():
        session.out.print(Text(f"  {render.line(case.get('outcome'), 10):<8} {render.line(case.get('name'), 400)}"))
    session.out.print(Text("\n" + render.safe(mapping(task.result).get("explanation") or ""), style="bold"))
    session.err.print(f"Nothing was written. Take it: umbel show {task.id} --patch | git apply")


@click.command()
@files
@click.option("--lines", type=Lines(), metavar="A-B", help="Only these lines of the first file.")
@model
@prompt
@as_json
@pass_session
def explain(
    session: Session,
    paths: tuple[str, ...],
    lines: tuple[int, int] | None,
    model: str | None,
    prompt: str | None,
    as_json: bool,
) -> None:
    """Have a model explain the first FILE; the others are there to be looked at."""
    sent = _files(paths)
    work = _work("explain", sent, model, prompt)
    if lines is not None:
        work["selection"] = {"file": sent[0]["path"], "start": lines[0], "end": lines[1]}
    task = _done(session, work, as_json)
    if task is None:
        return
    explained = mapping(mapping(task.result).get("explained"))
    session.out.print(Text(render.safe(explained.get("summary") or "")))
    for section in explained.get("sections") or ():
        start, end = section.get("start"), section.get("end")
        where = f"{start}-{end}: " if start else ""
        session.out.print(Text(f"\n{where}{render.line(section.get('title'))}", style="bold"))
        session.out.print(Text(render.safe(section.get("text") or "")))


def _files(paths: Sequence[str]) -> list[dict[str, str]]:
    return [file.as_input() for file in read_files([Path(path) for path in paths])]


def _work(mode: str, sent: list[dict[str, str]], model: str | None, prompt: str | None) -> dict[str, Any]:
    wishes = {"model": model, "prompt": prompt}
    return {"mode": mode, "files": sent} | {name: value for name, value in wishes.items() if value is not None}


def _done(session: Session, work: dict[str, Any], as_json: bool) -> Task | None:
    """Have it done, and return the task to be shown; None if it was printed as JSON. Exit unless it succeeded."""
    with session.connect() as umbel:
        task = umbel.submit("code_assist", work)
        session.err.print(f"Task {render.safe(task.id)}")
        task = umbel.wait(task.id) if as_json else follow(session, umbel, task.id)
    if as_json:
        print_json(task.raw)
    exit_for(task)
    return None if as_json else task


COMMANDS = (generate_test, explain)
