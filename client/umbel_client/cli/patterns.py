"""Commands about patterns and their indexes."""

import time
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from umbel_client.cli.base import Session, as_json, pass_session, print_json

#: Seconds between looks at a build.
LOOK_S = 1.0
OPEN = ("queued", "running")


@click.group()
def patterns() -> None:
    """What finished runs taught."""


@patterns.command()
@click.option("--index", type=click.Choice(["vectors", "graph", "passages"]), default="vectors", show_default=True)
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


@patterns.command()
@click.argument("pattern_id")
@click.option("--depth", type=click.IntRange(1, 3), default=2, show_default=True, help="How many edges far.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw it into this file instead.")
@as_json
@pass_session
def graph(session: Session, pattern_id: str, depth: int, svg: Path | None, as_json: bool) -> None:
    """Show what is near a pattern: its tools, what it solves, the runs that showed it, and what is tied to those."""
    with session.connect() as umbel:
        if svg is not None:
            session.out.print(f"{svg}: {umbel.draw_pattern(pattern_id, svg, depth=depth):,} bytes")
            return
        found = umbel.pattern_graph(pattern_id, depth=depth)
    if as_json:
        print_json(found)
        return
    names = {node["id"]: _name(node) for node in found["nodes"]}
    for edge in found["edges"]:
        session.out.print(Text(f"{names[edge['from']]} {edge['kind']} {names[edge['to']]}"))
    if found["cut"]:
        session.err.print("There is more than is shown.")


def _name(node: dict[str, Any]) -> str:
    return f"{node['kind']} {node['properties'].get('title') or node['key']}"


def _show(session: Session, build: dict[str, Any]) -> None:
    waits = f", waits: {build['error']}" if build["error"] else ""
    session.err.print(f"{build['state']} {build['done']} of {build['total']}{waits}")


def _told(index: str, build: dict[str, Any]) -> str:
    by = f" by {build['embedder']}" if build["embedder"] else ""
    return f"{index}: {build['state']}, {build['done']} of {build['total']}{by}"


COMMANDS = (patterns,)
