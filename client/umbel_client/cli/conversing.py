"""`umbel sessions`."""

import click

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json
from umbel_client.client import Umbel
from umbel_client.sessions import SessionMessage


@click.command()
@click.argument("session_id", metavar="[ID]", required=False)
@click.option("--new", "title", metavar="TITLE", help="Begin one, and print its id.")
@click.option("--agent", help="With --new: the agent of its tasks.")
@click.option("--delete", is_flag=True, help="Forget the session ID and its messages.")
@as_json
@pass_session
def sessions(
    session: Session, session_id: str | None, title: str | None, agent: str | None, delete: bool, as_json: bool
) -> None:
    """Conversations with agents: list them, or show what was said in one."""
    if delete and session_id is None:
        raise click.UsageError("--delete needs the session's ID")
    with session.connect() as umbel:
        if title is not None:
            click.echo(umbel.sessions.create(title, agent).id)
        elif session_id is None:
            _list(session, umbel, as_json)
        elif delete:
            umbel.sessions.delete(session_id)
        else:
            _show(session, umbel, session_id, as_json)


def _list(session: Session, umbel: Umbel, as_json: bool) -> None:
    found = list(umbel.sessions.list())
    if as_json:
        print_json([each.raw for each in found])
        return
    rows = [
        (each.id, each.title, each.agent or "", str(each.messages), render.local_time(each.updated_at))
        for each in found
    ]
    render.table(session.out, ("id", "title", "agent", "messages", "changed"), rows)


def _show(session: Session, umbel: Umbel, session_id: str, as_json: bool) -> None:
    found = list(umbel.sessions.messages(session_id))
    if as_json:
        print_json([each.raw for each in found])
        return
    render.table(session.out, ("", "who", "what"), [(str(each.number), each.role, _said(each)) for each in found])


def _said(message: SessionMessage) -> str:
    tools = [f"[{each.get('tool')}]" for each in message.tools]
    return render.line(" ".join([message.text, *tools]).strip())


COMMANDS = (sessions,)
