"""Where one reader stands in one task: pure bookkeeping, no input or output."""

from dataclasses import dataclass
from enum import Enum
from typing import cast

from models.events import FINAL, EventType, Frame, frame

_CLOSES_TEXT = frozenset(
    {EventType.MODEL_COMPLETED, EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.STEP_RESTARTED}
)


class Need(Enum):
    """Why a frame was not delivered."""

    NOTHING = "old, or of a text that is closed"
    ROWS = "events before it are missing"
    TEXT = "text before it is missing"


@dataclass(slots=True)
class OpenText:
    """A text that is being streamed, up to the `length` characters this reader has."""

    started: Frame
    length: int = 0

    @property
    def step(self) -> str:
        """Key of the step that streams it."""
        return str(self.started["data"].get("step"))

    def delta(self, text: str) -> Frame:
        """Make the delta that brings this reader up to `text`, and note it as delivered."""
        data = {"step": self.step, "offset": self.length, "text": text[self.length :]}
        self.length = len(text)
        started = self.started
        kind = EventType.MODEL_DELTA
        return frame(started["seq"], kind, started["task_id"], started["run_id"], started["at"], data)


class Cursor:
    """The last event delivered, and how much of each open text.

    Attributes:
        seq: number of the last durable event delivered.
        texts: open texts by the seq of their model.started.
    """

    __slots__ = ("_promised", "seq", "texts")

    def __init__(self, seq: int, offsets: dict[int, int] | None = None) -> None:
        self.seq = seq
        self.texts: dict[int, OpenText] = {}
        self._promised = offsets or {}

    def take(self, item: Frame) -> Frame | Need:
        """Return the frame to deliver now, or why not."""
        if item["type"] == EventType.MODEL_DELTA:
            return self._take_delta(item)
        if item["seq"] <= self.seq:
            return Need.NOTHING
        if item["seq"] != self.seq + 1:
            return Need.ROWS
        self.seq = item["seq"]
        self._follow_texts(item)
        return item

    def open_text(self, started: Frame) -> None:
        """Note a text that was open before this reader came; it may have some of it already."""
        self.texts[started["seq"]] = OpenText(started, self._promised.pop(started["seq"], 0))

    def _take_delta(self, item: Frame) -> Frame | Need:
        if item["seq"] > self.seq:
            return Need.ROWS
        known = self.texts.get(item["seq"])
        if known is None:
            return Need.NOTHING
        offset, text = item["data"]["offset"], item["data"]["text"]
        if offset > known.length:
            return Need.TEXT
        fresh = text[known.length - offset :]
        if not fresh:
            return Need.NOTHING
        data = {**item["data"], "offset": known.length, "text": fresh}
        known.length += len(fresh)
        return item if len(fresh) == len(text) else cast(Frame, {**item, "data": data})

    def _follow_texts(self, item: Frame) -> None:
        kind = item["type"]
        if kind in FINAL:
            self.texts.clear()
        elif kind == EventType.MODEL_STARTED:
            self._close(item["data"].get("step"))
            self.open_text(item)
        elif kind in _CLOSES_TEXT:
            self._close(item["data"].get("step"))

    def _close(self, step: object) -> None:
        for seq in [seq for seq, text in self.texts.items() if text.step == step]:
            del self.texts[seq]
