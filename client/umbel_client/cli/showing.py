"""Commands that only look: list, show, why, events, workflows."""

import json
from collections.abc import Iterator

import click
from rich.text import Text

from umbel_client.cli import render
from umbel_client.cli.base import Session, as_json, pass_session, print_json, task_id
from umbel_client.models import Task, mapping
from umbel_client.reports import Step


@click.command("list")
@click.option("--status", help="queued, running, waiting, succeeded, failed, cancelled or dead; several with commas.")
@click.option("--workflow", help="Only this workflow.")
@click.option("--tag", help="Only tasks with this tag.")
@click.option("--parent", help="Only tasks this one started.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="At most this many.")
@as_json
@pass_session
def list_(
    session: Session,
    status: str | None,
    workflow: str | None,
    tag: str | None,
    parent: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """The newest tasks."""
    with session.connect() as umbel:
        tasks = list(umbel.list(status=status, workflow=workflow, tag=tag, parent=parent, limit=limit))
    if as_json:
        print_json([task.raw for task in tasks])
        return
    rows = [
        (task.id, task.workflow, render.status(task.status), render.local_time(task.created_at), ",".join(task.tags))
        for task in tasks
    ]
    render.table(session.out, ("id", "workflow", "status", "created", "tags"), rows)


@click.command()
@click.option("--since", help="Only tasks submitted from this moment on, such as 2026-11-01T00:00:00Z.")
@click.option("--until", help="Only tasks submitted before this moment.")
@as_json
@pass_session
def usage(session: Session, since: str | None, until: str | None, as_json: bool) -> None:
    """What your tasks have used, by workflow."""
    with session.connect() as umbel:
        used = umbel.usage(since=since, until=until)
    if as_json:
        print_json(used)
        return
    columns = ("tasks", "steps", "tool_calls", "input_tokens", "output_tokens", "usd", "unpriced_steps")
    lines = [*((each["workflow"], each) for each in used["workflows"]), ("all", used["total"])]
    rows = [(name, *(str(each[column]) for column in columns)) for name, each in lines]
    render.table(session.out, ("workflow", *columns), rows)


@click.command()
@task_id
@as_json
@click.option("--patch", is_flag=True, help="Print only the diffs of the result, for `git apply`.")
@pass_session
def show(session: Session, task_id: str, as_json: bool, patch: bool) -> None:
    """One task: how it stands and what came out."""
    with session.connect() as umbel:
        task = umbel.get(task_id)
    if as_json:
        print_json(task.raw)
    elif patch:
        for each in patches(task):
            render.diff(session.out, each)
    else:
        session.out.print(render.summary(task))
        render.table(session.out, ("", ""), _facts(task))
        if task.result is not None:
            print_json(task.result)


def patches(task: Task) -> list[str]:
    """The unified diffs in a task's result."""
    return [str(file.get("patch") or "") for file in mapping(task.result).get("files_modified") or ()]


def _facts(task: Task) -> Iterator[tuple[str, str]]:
    yield "workflow", task.workflow
    for name in ("created_at", "started_at", "finished_at"):
        yield name.removesuffix("_at"), render.local_time(getattr(task, name))
    if task.run:
        yield "run", f"{task.run.number} ({task.run.kind}), attempt {task.run.attempt}"
    yield "events", str(task.last_seq)
    if task.tags:
        yield "tags", ", ".join(task.tags)
    yield from (("metadata", f"{name}={value}") for name, value in task.metadata.items())
    if task.decision:
        yield "decision", str(task.decision.get("verdict"))


@click.command()
@task_id
@as_json
@pass_session
def why(session: Session, task_id: str, as_json: bool) -> None:
    """Why a task is where it is: what holds it, and what it did."""
    with session.connect() as umbel:
        reasons = umbel.why(task_id)
    if as_json:
        print_json(reasons.raw)
        return
    session.out.print(Text.assemble(render.status(reasons.status), f": {render.line(reasons.summary, 600)}"))
    for blocker in reasons.blockers:
        session.out.print(Text(f"  held by {render.line(blocker.code)}: {render.line(blocker.detail, 400)}", "yellow"))
    rows = [
        (
            step.key,
            step.kind,
            render.status(step.status),
            step.effect,
            str(step.attempt),
            render.seconds(step.duration_s),
            _error(step),
        )
        for step in reasons.steps
    ]
    if rows:
        render.table(session.out, ("step", "kind", "status", "effect", "attempt", "took", "error"), rows)


def _error(step: Step) -> str:
    return f"{step.error.code}: {step.error.message}" if step.error else ""


@click.command()
@task_id
@click.option("--after", default=0, type=click.IntRange(min=0), help="Start after this event.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON event per line.")
@pass_session
def events(session: Session, task_id: str, after: int, as_json: bool) -> None:
    """The durable events of a task so far."""
    with session.connect() as umbel:
        for frame in umbel.events(task_id, after):
            if as_json:
                click.echo(json.dumps(frame.raw, ensure_ascii=False))
            else:
                session.out.print(render.event(frame))


@click.command()
@as_json
@pass_session
def workflows(session: Session, as_json: bool) -> None:
    """What the server can do."""
    with session.connect() as umbel:
        known = umbel.workflows()
    if as_json:
        print_json([workflow.raw for workflow in known])
        return
    rows = [(workflow.name, workflow.queue, workflow.description) for workflow in known]
    render.table(session.out, ("name", "queue", "description"), rows)


COMMANDS = (list_, show, why, events, workflows, usage)
