"""`umbel watch`, and the following of a task that other commands share."""

import click

from umbel_client.cli import render
from umbel_client.cli.base import Session, pass_session, task_id
from umbel_client.cli.live import Display
from umbel_client.client import Umbel
from umbel_client.models import Task

INTERRUPTED = 130  # what a shell reports for a command ended by Ctrl-C


def follow(session: Session, umbel: Umbel, task_id: str, after: int = 0) -> Task:
    """Show the task until it ends; return it. Ctrl-C stops the showing, not the task, and exits 130."""
    last = after
    try:
        with Display(session.out) as display:
            for frame in umbel.watch(task_id, after, on_interruption=display.interrupted):
                display.show(frame)
                last = frame.seq if frame.durable and frame.seq else last
        return umbel.get(task_id)
    except KeyboardInterrupt:
        session.err.print("\nStopped watching; the task goes on. Watch again:")
        session.err.print(f"    umbel watch {task_id} --after {last}")
        session.err.print(f"Stop the task: umbel cancel {task_id}")
        raise click.exceptions.Exit(INTERRUPTED) from None


def exit_for(task: Task) -> None:
    """End with 0 only for a task that succeeded."""
    if not task.succeeded:
        raise click.exceptions.Exit(1)


@click.command()
@task_id
@click.option("--after", default=0, type=click.IntRange(min=0), help="Start after this event.")
@pass_session
def watch(session: Session, task_id: str, after: int) -> None:
    """Follow a task live until it ends; exit 0 only if it succeeded."""
    with session.connect() as umbel:
        task = follow(session, umbel, task_id, after)
        session.out.print(render.summary(task))
    exit_for(task)


COMMANDS = (watch,)
