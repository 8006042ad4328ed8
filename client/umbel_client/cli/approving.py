"""Commands about what waits for a person: approvals, decide."""

import json
from typing import Any

import click

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json
from umbel_client.cli.submitting import JsonInput

VERDICTS = ("approve", "edit", "reject", "answer", "repeat", "skip", "fail")


@click.command()
@click.option("--task", "task_id", metavar="ID", help="Only what this task asks.")
@as_json
@pass_session
def approvals(session: Session, task_id: str | None, as_json: bool) -> None:
    """What waits for a person, the longest waiting first."""
    with session.connect() as umbel:
        found = umbel.approvals(task_id)
    if as_json:
        print_json([each.raw for each in found])
        return
    rows = [
        (each.id, each.title or "did this happen?", _args(each.args), " | ".join(each.allowed), _until(each))
        for each in found
    ]
    render.table(session.out, ("id", "question", "arguments", "answers", "until"), rows)


@click.command()
@click.argument("approval_id", metavar="ID")
@click.argument("verdict", type=click.Choice(VERDICTS))
@click.option(
    "--args",
    "args",
    type=JsonInput(),
    metavar="JSON|@FILE|-",
    help="With edit: the arguments to use. With answer: the answer.",
)
@click.option("--comment", help="Why; an agent is told when it is a rejection. With answer: its text.")
@as_json
@pass_session
def decide(
    session: Session, approval_id: str, verdict: str, args: dict[str, Any] | None, comment: str | None, as_json: bool
) -> None:
    """Answer a question; `umbel approvals` lists them."""
    with session.connect() as umbel:
        asked = next((each for each in umbel.approvals() if each.id == approval_id), None)
        if asked is None:
            raise click.ClickException(f"Nothing is asked under {approval_id}; `umbel approvals` lists what is.")
        task = umbel.decide(asked, verdict, args=args, comment=comment)
    if as_json:
        print_json(task.raw)
        return
    used = asked.args if args is None else args
    session.out.print(f"{verdict}: {asked.title or asked.step} {_args(used)}", markup=False)
    session.out.print(render.summary(task))


def _args(args: Any) -> str:
    return "" if args is None else render.line(json.dumps(args, ensure_ascii=False))


def _until(asked: Any) -> str:
    return f"{render.local_time(asked.expires_at)}, then {asked.on_expiry}" if asked.expires_at else ""


COMMANDS = (approvals, decide)
