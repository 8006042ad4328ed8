"""Commands that ask something of a task: cancel, pause, resume, steer, retry, accept, reject."""

from collections.abc import Callable

import click

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json, task_id
from umbel_client.client import Umbel
from umbel_client.models import Task

ACTIONS: dict[str, tuple[Callable[[Umbel, str], Task], str]] = {
    "cancel": (Umbel.cancel, "Stop a task; it ends as cancelled."),
    "pause": (Umbel.pause, "Let a task rest at its next step boundary."),
    "retry": (Umbel.retry, "Run a failed or dead task again; finished steps are not repeated."),
}


def _report(session: Session, task: Task, as_json: bool) -> None:
    if as_json:
        print_json(task.raw)
    else:
        session.out.print(render.summary(task))


def _action(name: str) -> click.Command:
    act, text = ACTIONS[name]

    @click.command(name, help=text)
    @task_id
    @as_json
    @pass_session
    def command(session: Session, task_id: str, as_json: bool) -> None:
        with session.connect() as umbel:
            _report(session, act(umbel, task_id), as_json)

    return command


_comment = click.option("--comment", help="Why, for the record.")


@click.command()
@task_id
@_comment
@click.option(
    "--merge", is_flag=True, help="If others changed the same files of its project: merge, where that is clean."
)
@as_json
@pass_session
def accept(session: Session, task_id: str, comment: str | None, merge: bool, as_json: bool) -> None:
    """Take a result over: into its project, if it has one."""
    with session.connect() as umbel:
        _report(session, umbel.accept(task_id, comment, merge=merge), as_json)


@click.command()
@task_id
@_comment
@as_json
@pass_session
def reject(session: Session, task_id: str, comment: str | None, as_json: bool) -> None:
    """Record that a result was turned down."""
    with session.connect() as umbel:
        _report(session, umbel.reject(task_id, comment), as_json)


@click.command()
@task_id
@click.option(
    "--decision",
    type=click.Choice(["repeat", "skip", "fail"]),
    help="For a task that waits in doubt: what to do with the step that may have happened.",
)
@as_json
@pass_session
def resume(session: Session, task_id: str, decision: str | None, as_json: bool) -> None:
    """Let a paused task, or one in doubt, go on."""
    with session.connect() as umbel:
        _report(session, umbel.resume(task_id, decision), as_json)


@click.command()
@task_id
@click.argument("text")
@as_json
@pass_session
def steer(session: Session, task_id: str, text: str, as_json: bool) -> None:
    """Tell an agent something while it works."""
    with session.connect() as umbel:
        message = umbel.steer(task_id, text)
    if as_json:
        print_json(message)
    else:
        session.out.print(f"Message {message['number']} is given to the model before its next call.")


COMMANDS = (resume, steer, accept, reject, *map(_action, ACTIONS))
