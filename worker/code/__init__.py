"""Changes to code: read from what a model or a person wrote, made exactly or refused, and told as unified diffs.

    edits = parse_diff(text)            # or parse_answer(text): whole files, search/replace and diffs
    change = apply(edits[0], files)     # the file before and after, or an EditRefused that says why
    change.patch                        # what `git apply` and GNU `patch` take

Texts are `str`, and a line ends at LF only: carriage returns, form feeds, byte order marks and a missing newline at
the end are part of the text and stay what they are. Kept libraries do not fit that: unidiff parses but does not
apply, leaves quoted names quoted and overlooks surplus lines; whatthepatch splits lines at form feeds and Unicode
separators; patch-ng writes to the disk and searches with fuzz. difflib finds what is equal; the rest is here.
"""

from worker.code.answers import Answer, parse_answer
from worker.code.applying import apply, attempt
from worker.code.diff import unified_diff
from worker.code.edits import Change, Edit
from worker.code.errors import EditError, EditMalformed, EditPathRefused, EditRefused
from worker.code.lines import text_of
from worker.code.unified import parse_diff

__all__ = [
    "Answer",
    "Change",
    "Edit",
    "EditError",
    "EditMalformed",
    "EditPathRefused",
    "EditRefused",
    "apply",
    "attempt",
    "parse_answer",
    "parse_diff",
    "text_of",
    "unified_diff",
]
