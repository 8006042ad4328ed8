"""Commands about patterns and their indexes."""

import time
from typing import Any

import click

from umbel_client.cli.base import Session, as_json, pass_session, print_json

#: Seconds between looks at a build.
LOOK_S = 1.0
OPEN = ("queued", "running")


@click.group()
def patterns() -> None:
    """What finished runs taught."""


@patterns.command()
@click.option("--index", type=click.Choice(["vectors", "graph"]), default="vectors", show_default=True)
@click.option("--no-wait", is_flag=True, help="Only ask for it.")
@as_json
@pass_session
def reindex(session: Session, index: str, no_wait: bool, as_json: bool) -> None:
    """Build an index anew from the record, beside the one in use. Needs a key with the scope `operations`."""
    with session.connect() as umbel:
        build = umbel.build_index(index)
        while build["state"] in OPEN and not no_wait:
            if not as_json:
                _show(session, build)
            time.sleep(LOOK_S)
            build = next(each["build"] for each in umbel.indexes() if each["index"] == index)
    if as_json:
        print_json(build)
    else:
        session.out.print(_told(index, build))
    if build["state"] == "failed":
        raise click.ClickException(f"the index was not built: {build['error']}")


def _show(session: Session, build: dict[str, Any]) -> None:
    waits = f", waits: {build['error']}" if build["error"] else ""
    session.err.print(f"{build['state']} {build['done']} of {build['total']}{waits}")


def _told(index: str, build: dict[str, Any]) -> str:
    by = f" by {build['embedder']}" if build["embedder"] else ""
    return f"{index}: {build['state']}, {build['done']} of {build['total']}{by}"


COMMANDS = (patterns,)
