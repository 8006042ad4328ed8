"""An explanation as a model writes it, read strictly: a summary, then sections headed by the lines they are about."""

import re
from dataclasses import dataclass

from worker.workflows.code_assist.schemas import Section

_HEADING = re.compile(r"^##[ \t]+(?P<rest>.+?)[ \t]*$", re.MULTILINE)
_LINES = re.compile(
    r"^lines?[ \t]+(?P<start>\d{1,9})(?:[ \t]*(?:-|–|to)[ \t]*(?P<end>\d{1,9}))?[ \t]*(?::[ \t]*(?P<title>.*))?$",
    re.IGNORECASE,
)

FORMAT = """Answer in Markdown, in this form and nothing around it:

One to three paragraphs that say what it is for and how it goes about it.

## Lines 3-10: A title of a few words
What these lines do, and why.

Write one such section for each part that matters, in their order. Line numbers are those shown before each line; use \
only numbers that are shown."""


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of an answer, and what is wrong with it, in words for who wrote it."""

    summary: str
    sections: tuple[Section, ...]
    faults: tuple[str, ...]


def read(answer: str, first: int, last: int) -> Read:
    """Read an explanation of the lines from `first` to `last`.

    Sections whose lines do not exist lose them, and are named in `faults`.
    """
    headings = list(_HEADING.finditer(answer))
    summary = answer[: headings[0].start() if headings else len(answer)].strip()
    ends = [*(each.start() for each in headings), len(answer)][1:]
    faults = [] if summary else ["it does not begin with a summary"]
    faults += [] if headings else ["it has no sections headed by `## Lines a-b: title`"]
    sections = []
    for heading, end in zip(headings, ends, strict=True):
        section, fault = _section(heading["rest"], answer[heading.end() : end].strip(), first, last)
        sections.append(section)
        faults += [fault] if fault else []
    return Read(summary, tuple(sections), tuple(faults))


def _section(heading: str, text: str, first: int, last: int) -> tuple[Section, str | None]:
    found = _LINES.match(heading)
    if found is None:
        return Section(start=None, end=None, title=heading, text=text), f"`## {heading}` names no lines"
    start, end = int(found["start"]), int(found["end"] or found["start"])
    title = found["title"] or ""
    if not first <= start <= end <= last:
        fault = f"`## {heading}`: there are lines {first} to {last} only"
        return Section(start=None, end=None, title=title, text=text), fault
    return Section(start=start, end=end, title=title, text=text), None
