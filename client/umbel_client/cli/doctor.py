"""`umbel doctor`."""

from collections.abc import Iterator

import click
from rich.text import Text

from umbel_client.cli import render
from umbel_client.cli.base import Session, pass_session, print_json
from umbel_client.cli.checks import Finding, examine
from umbel_client.errors import ConfigurationError

MARKS = {
    "ok": ("ok", "green"),
    "warning": ("warn", "yellow"),
    "failed": ("FAIL", "bold red"),
    "skipped": ("skip", "dim"),
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@pass_session
def doctor(session: Session, as_json: bool) -> None:
    """Check the server and everything it needs; say the cure for what is wrong. Exit 1 on a failure."""
    findings: list[Finding] = []
    for finding in _findings(session):
        findings.append(finding)
        if not as_json:
            _print(session, finding)
    if as_json:
        print_json([finding.as_json() for finding in findings])
    if any(finding.state == "failed" for finding in findings):
        raise click.exceptions.Exit(1)


def _findings(session: Session) -> Iterator[Finding]:
    try:
        with session.connect() as umbel:
            yield from examine(umbel)
    except ConfigurationError as error:
        yield Finding("settings", "failed", str(error), "`make run` starts a server here and writes client.env.")


def _print(session: Session, finding: Finding) -> None:
    mark, style = MARKS[finding.state]
    session.out.print(
        Text.assemble((f"{mark:<5}", style), f"{render.safe(finding.name):<12} ", render.line(finding.detail, 400))
    )
    if finding.cure:
        session.out.print(Text(f"     cure: {render.line(finding.cure, 400)}", style="yellow"))


COMMANDS = (doctor,)
