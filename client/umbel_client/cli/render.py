"""Turning records into lines. In a terminal they have colour; in a pipe they are plain and exact."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from umbel_client.models import JSON, Frame, Task, mapping

STATUS_STYLES = {
    "succeeded": "green",
    "failed": "red",
    "dead": "bold red",
    "cancelled": "yellow",
    "waiting": "yellow",
    "running": "cyan",
}
#: What of an event's data is shown as it is.
_TOLD = ("step", "title", "name", "reason", "detail", "message", "verdict", "comment")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def safe(text: object) -> str:
    """The text with control characters made visible, so that no file or model can steer the reader's terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", str(text))


def line(text: object, limit: int = 160) -> str:
    """One safe line of at most `limit` characters."""
    flat = safe(" ".join(str(text).split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def status(value: str) -> Text:
    """A status in its colour."""
    return Text(value, style=STATUS_STYLES.get(value, ""))


def local_time(value: datetime | None) -> str:
    """A moment on this machine's clock."""
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S") if value else "-"


def seconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return "-"
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min"


def table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """A table in a terminal, tab-separated lines in a pipe. Nothing is said to be nothing, but not to a program."""
    listed = [*rows]
    if not console.is_terminal:
        for row in listed:
            click.echo("\t".join(cell.plain if isinstance(cell, Text) else line(cell) for cell in row))
        return
    if not listed:
        console.print(Text("none", style="dim"))
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in listed:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(safe(cell)) for cell in row))
    console.print(drawn, soft_wrap=False)


def diff(console: Console, patch: str) -> None:
    """A unified diff in colour; in a pipe byte for byte."""
    if not console.is_terminal:
        click.echo(patch, nl=not patch.endswith("\n"))
        return
    for row in patch.removesuffix("\n").split("\n"):
        console.print(Text(safe(row), style=_diff_style(row)))


def _diff_style(row: str) -> str:
    if row.startswith(("+++", "---", "diff ", "index ")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan", "\\": "dim"}.get(row[:1], "")


def event(frame: Frame) -> Text:
    """One event as one line: local time, number, type, what matters of its data."""
    clock = frame.at.astimezone().strftime("%H:%M:%S") if frame.at else "--:--:--"
    text = Text(f"{clock} {frame.seq or '':>4}  ", style="dim")
    text.append(f"{safe(frame.type):<17} ", style=_event_style(frame))
    text.append(_facts(frame.data))
    text.rstrip()
    return text


def _event_style(frame: Frame) -> str:
    kind = frame.type.rpartition(".")[2]
    return {"completed": "green", "restarted": "yellow", "exceeded": "red"}.get(kind, STATUS_STYLES.get(kind, "cyan"))


def _facts(data: JSON) -> str:
    facts = [str(data[name]) for name in _TOLD if data.get(name)]
    if data.get("number") and data.get("total"):
        facts.append(f"({data['number']}/{data['total']})")
    if isinstance(data.get("duration_s"), int | float):
        facts.append(seconds(data["duration_s"]))
    facts += [_compact(data[name]) for name in ("args", "result") if name in data]
    error = mapping(data.get("error"))
    if error:
        facts.append(f"{error.get('code')}: {error.get('message')}")
    return line("  ".join(facts))


def _compact(value: object) -> str:
    """Arguments or a result of a tool: as JSON, a result without its wrapping."""
    held = mapping(value)
    inner = held.get(str(held.get("kind")), value) if "kind" in held else value
    return inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)


def summary(task: Task) -> Text:
    """How a task stands, in one line."""
    text = Text.assemble(f"Task {safe(task.id)} ", status(task.status))
    if task.duration_s is not None:
        text.append(f" after {seconds(task.duration_s)}")
    if task.waiting:
        text.append(f" for {line(task.waiting.reason)}")
        text.append(f": {_plain(task.waiting.detail)}" if task.waiting.detail else "")
    if task.error:
        text.append(f": {line(task.error.message, 400)} ({line(task.error.code)})")
    return text


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return line(", ".join(f"{name} {each}" for name, each in value.items()))
    return line(value)


def diagnostic(entry: Any) -> str:
    """A finding of a linter as `path:line:column CODE message`."""
    fields = mapping(entry)
    if not fields:
        return line(entry)
    where = ":".join(str(fields[name]) for name in ("path", "line", "col") if fields.get(name))
    return line(f"{where} {fields.get('code') or ''} {fields.get('message') or ''}", 400)
