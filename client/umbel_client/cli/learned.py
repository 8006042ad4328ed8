"""The commands of `umbel patterns` about patterns themselves; those about their indexes are in `patterns`."""

from collections.abc import Iterable
from typing import Any

import click

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json
from umbel_client.cli.patterns import patterns
from umbel_client.cli.submitting import JsonInput

id_of = click.argument("pattern_id", metavar="ID")
reason_of = click.option("--reason", default="", help="Kept in its history.")
STATES = ("candidate", "active", "quarantined", "retired")
KINDS = ("workflow", "strategy", "pitfall", "fix")


@patterns.command("list")
@click.option("--state", type=click.Choice(STATES))
@click.option("--kind", type=click.Choice(KINDS))
@click.option("--agent", help="The agent that learned them.")
@as_json
@pass_session
def list_(session: Session, state: str | None, kind: str | None, agent: str | None, as_json: bool) -> None:
    """Patterns, the newest first."""
    with session.connect() as umbel:
        _table(session, umbel.patterns.list(state=state, kind=kind, agent=agent), as_json)


@patterns.command()
@click.argument("text")
@as_json
@pass_session
def search(session: Session, text: str, as_json: bool) -> None:
    """Active patterns that have words of TEXT."""
    with session.connect() as umbel:
        _table(session, umbel.patterns.search(text), as_json)


@patterns.command()
@id_of
@pass_session
def show(session: Session, pattern_id: str) -> None:
    """A pattern with what speaks for it, as JSON."""
    with session.connect() as umbel:
        print_json(umbel.patterns.get(pattern_id))


@patterns.command()
@click.argument("text")
@click.option(
    "--of", multiple=True, type=click.Choice(["patterns", "messages", "artifacts"]), help="Look among; several times."
)
@as_json
@pass_session
def retrieve(session: Session, text: str, of: tuple[str, ...], as_json: bool) -> None:
    """What an agent that is asked TEXT would be told."""
    with session.connect() as umbel:
        found = umbel.patterns.retrieve(text, **({"of": list(of)} if of else {}))
    if as_json:
        print_json(found)
        return
    for name, code in found["degraded"].items():
        session.err.print(f"not asked: {name}: {code}", markup=False)
    if by := found.get("found_by"):
        session.err.print(" ".join(filter(None, ("found by", by, found.get("embedder")))), markup=False)
    session.out.print(found["block"] or "nothing is known", markup=False)


@patterns.command()
@click.option("--since", help="Runs from then on: ISO 8601 with an offset.")
@click.option("--agent")
@pass_session
def stats(session: Session, since: str | None, agent: str | None) -> None:
    """What patterns are worth, as JSON."""
    with session.connect() as umbel:
        print_json(umbel.patterns.stats(since=since, agent=agent))


@patterns.command()
@id_of
@click.argument("content", type=JsonInput(), metavar="JSON|@FILE|-")
@click.option("--version", type=click.IntRange(min=1), help="Edit this version only.")
@pass_session
def edit(session: Session, pattern_id: str, content: dict[str, Any], version: int | None) -> None:
    """Give a pattern other words: {"title", "situation", "steps"}."""
    with session.connect() as umbel:
        _told(session, umbel.patterns.edit(pattern_id, content, version=version))


@patterns.command()
@id_of
@click.option("--off", is_flag=True, help="Unpin it.")
@pass_session
def pin(session: Session, pattern_id: str, off: bool) -> None:
    """Let measurements leave a pattern as it is."""
    with session.connect() as umbel:
        _told(session, umbel.patterns.pin(pattern_id, not off))


@patterns.command()
@id_of
@click.argument("version", type=click.IntRange(min=1))
@pass_session
def rollback(session: Session, pattern_id: str, version: int) -> None:
    """Give a pattern the content of a version before."""
    with session.connect() as umbel:
        _told(session, umbel.patterns.roll_back(pattern_id, version))


@patterns.command()
@id_of
@reason_of
@pass_session
def activate(session: Session, pattern_id: str, reason: str) -> None:
    """Offer a pattern to agents."""
    _moved(session, pattern_id, "activate", reason)


@patterns.command()
@id_of
@reason_of
@pass_session
def quarantine(session: Session, pattern_id: str, reason: str) -> None:
    """Keep a pattern from agents until it is activated."""
    _moved(session, pattern_id, "quarantine", reason)


@patterns.command()
@id_of
@reason_of
@pass_session
def retire(session: Session, pattern_id: str, reason: str) -> None:
    """Take a pattern out of use."""
    _moved(session, pattern_id, "retire", reason)


def _moved(session: Session, pattern_id: str, action: str, reason: str) -> None:
    with session.connect() as umbel:
        _told(session, umbel.patterns.move(pattern_id, action, reason))


def _told(session: Session, pattern: dict[str, Any]) -> None:
    pinned = ", pinned" if pattern["pinned"] else ""
    line = f"{pattern['id']}: version {pattern['version']}, {pattern['state']}{pinned}"
    session.out.print(line, markup=False)


def _table(session: Session, found: Iterable[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json([*found])
        return
    rows = [(each["id"], each["kind"], each["state"], _credit(each), render.line(each["title"])) for each in found]
    render.table(session.out, ("id", "kind", "state", "uplift", "title"), rows)


def _credit(pattern: dict[str, Any]) -> str:
    credit = pattern.get("credit")
    if not credit:
        return ""
    return f"{credit['value']:+.2f} ({credit['lower']:+.2f} to {credit['upper']:+.2f})"


COMMANDS: tuple[click.Command, ...] = ()  # all of them are below `patterns`
