"""Showing a task while it runs: event lines, and in a terminal a progress bar below them."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from umbel_client.cli import render
from umbel_client.models import Frame
from umbel_client.text import TextAssembler
from umbel_client.watching import Interruption

TAIL = 60  # characters of a growing text shown beside the bar

ASKING = ("approval", "in_doubt")  # reasons to wait that only a person ends


class Display:
    """Prints frames as they come. Without a terminal there is no bar and nothing is redrawn."""

    def __init__(self, console: Console) -> None:
        self._texts = TextAssembler()
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=30),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._console = console
        self._done = 0
        self._bar = self._progress.add_task("waiting for a worker", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, frame: Frame) -> None:
        """Take one frame in."""
        self._texts.feed(frame)
        if frame.type == "model.delta":
            tail = self._texts.text(frame.seq or 0)[-TAIL:]
            self._progress.update(self._bar, description=render.line(tail))
            return
        self._console.print(render.event(frame))
        if frame.type == "model.completed" and frame.data.get("text"):
            self._console.print(_indented(str(frame.data["text"])))
        if frame.type == "task.waiting" and frame.data.get("reason") in ASKING:
            how = f"umbel approvals --task {frame.task_id}"
            self._console.print(Text(f"    a person is asked; in another terminal: {render.line(how)}", style="yellow"))
        self._advance(frame)

    def interrupted(self, lost: Interruption) -> None:
        """Say that the connection is gone and what happens now."""
        how = "polling" if lost.polling else "resuming"
        self._console.print(
            Text(f"{render.line(lost.reason.rstrip('.'))}; {how} after event {lost.after}", style="yellow")
        )

    def _advance(self, frame: Frame) -> None:
        if frame.type == "step.completed":
            total, number = frame.data.get("total"), frame.data.get("number")
            self._done = max(self._done, number) if isinstance(number, int) else self._done
            self._progress.update(self._bar, total=total, completed=self._done)
        if frame.type.startswith(("task.", "step.")):
            doing = frame.data.get("step") or frame.type.removeprefix("task.")
            self._progress.update(self._bar, description=render.line(doing, TAIL))


def _indented(text: str) -> Text:
    return Text("\n".join("    " + render.safe(row) for row in text.split("\n")))
