"""Putting streamed text together."""

from collections.abc import Mapping

from umbel_client.models import Frame


class TextAssembler:
    """The text of each model call, known by the `seq` of its model.started event.

    Deltas may overlap or repeat after a resumed connection; each says at which character it belongs. A delta beyond
    the known text is ignored: the frame model.completed brings the whole text in any case.
    """

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._steps: dict[int, str | None] = {}
        self._open: set[int] = set()

    @property
    def offsets(self) -> Mapping[int, int]:
        """How many characters are known of each unfinished text: the cursor to resume with."""
        return {seq: len(self._texts[seq]) for seq in sorted(self._open) if self._texts[seq]}

    def text(self, seq: int) -> str:
        """The text of one model call so far; empty when nothing is known of it."""
        return self._texts.get(seq, "")

    def missing(self, frame: Frame) -> bool:
        """Whether text before this delta never arrived."""
        return frame.type == "model.delta" and _offset(frame) > len(self.text(frame.seq or 0))

    def feed(self, frame: Frame) -> str:
        """Take one frame in; return the characters it added at the end of a text."""
        match frame.type:
            case "model.started":
                self._start(frame.seq or 0, frame)
            case "model.delta":
                return self._extend(frame.seq or 0, frame)
            case "model.completed":
                self._complete(frame)
            case "step.failed":
                self._open.difference_update(self._of_step(frame.data.get("step")))
            case "step.restarted":
                self._forget(frame.data.get("step"))
        return ""

    def _start(self, seq: int, frame: Frame) -> None:
        self._texts.setdefault(seq, "")
        self._steps[seq] = frame.data.get("step")
        self._open.add(seq)

    def _extend(self, seq: int, frame: Frame) -> str:
        known, offset = self.text(seq), _offset(frame)
        if offset > len(known):
            return ""
        self._start(seq, frame)
        new = known[:offset] + str(frame.data.get("text") or "")
        if len(new) <= len(known):
            return ""
        self._texts[seq] = new
        return new[len(known) :]

    def _complete(self, frame: Frame) -> None:
        # The completed event has a number of its own; the step is what ties it to its beginning.
        for seq in self._of_step(frame.data.get("step")):
            self._texts[seq] = str(frame.data.get("text") or self._texts[seq])
            self._open.discard(seq)

    def _forget(self, step: object) -> None:
        for seq in self._of_step(step):
            self._texts[seq] = ""
            self._open.discard(seq)

    def _of_step(self, step: object) -> list[int]:
        return [seq for seq in self._open if self._steps.get(seq) == step]


def _offset(frame: Frame) -> int:
    value = frame.data.get("offset")
    return value if isinstance(value, int) else 0
