"""Cuts messages and artifacts into passages: each short enough for one vector, none with a secret that is known."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from config.known import known_to
from models.passages import NOBODY, PassageKind
from models.repositories.passages import ArtifactState, NewPassage, SessionPlace
from models.repositories.sessions import MessageRow
from models.scope import AccountScope
from worker.tools.redact import redact

#: Characters of a passage: about what a small embedder reads of a text.
PASSAGE_MAX = 1000
#: Passages of one message; of a longer one, the beginning can be found.
PASSAGES_MAX = 16
TITLE_MAX = 200
#: Where a text is cut, the best first; a cut in the first half of a passage would leave too little.
_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?。！？])\s*"), re.compile(r"\s+"))
_SPEAKERS = {"user-prompt": "user", "text": "assistant"}


def of_message(scope: AccountScope, session_id: UUID, place: SessionPlace, row: MessageRow) -> list[NewPassage]:
    """Return the passages of a message: of what people and the model said, not of calls of tools and their results."""
    said = _said(row.message)
    speaker = said[0][0] if said else ""
    text = redact("\n\n".join(text for _, text in said), known_to(scope.account_id))
    about = (place.agent or NOBODY, speaker, _title(scope, place.title))
    place_of = (PassageKind.MESSAGE, session_id, row.number)
    return [
        NewPassage(*place_of, part, row.task_id, *about, piece, row.created_at)
        for part, piece in enumerate(pieces(text))
    ]


def of_artifact(scope: AccountScope, artifact_id: UUID, state: ArtifactState) -> list[NewPassage]:
    """Return the passages of an artifact's newest version: of its title and, where it is text, of how it begins.

    There is always one, so that an artifact is known to have been looked at, and a picture is found by its title.
    """
    shown = redact(str(state.preview.get("text") or ""), known_to(scope.account_id))
    title = _title(scope, state.title if state.title == state.name else f"{state.title} ({state.name})")
    place = (PassageKind.ARTIFACT, artifact_id, state.version)
    return [
        NewPassage(*place, part, state.task_id, "", "", title, piece, state.updated_at)
        for part, piece in enumerate(pieces(shown) or [title])
    ]


def embedded_as(title: str, text: str) -> str:
    """Return what a passage's vector is made of; most say little without what they belong to."""
    return text if not title or title == text else f"{title}\n{text}"


def pieces(text: str) -> list[str]:
    """Return a text in pieces of at most `PASSAGE_MAX` characters, cut where it pauses, `PASSAGES_MAX` at most."""
    found: list[str] = []
    rest = text.strip()
    while rest and len(found) < PASSAGES_MAX:
        end = len(rest) if len(rest) <= PASSAGE_MAX else _end(rest[: PASSAGE_MAX + 1])
        found.append(rest[:end].strip())
        rest = rest[end:].lstrip()
    return found


def _end(head: str) -> int:
    for pause in _BREAKS:
        ends = [match.end() for match in pause.finditer(head) if PASSAGE_MAX // 2 < match.end() <= PASSAGE_MAX]
        if ends:
            return ends[-1]
    return PASSAGE_MAX


def _said(message: Any) -> list[tuple[str, str]]:
    """Return who said what in a message, in the form the agent's loop keeps it."""
    parts = [part for part in message.get("parts") or [] if part.get("part_kind") in _SPEAKERS]
    told = [(_SPEAKERS[part["part_kind"]], text) for part in parts for text in _texts(part.get("content"))]
    return [(who, text) for who, text in told if text.strip()]


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):  # pictures and files among it are left out
        yield from (each for each in content if isinstance(each, str))


def _title(scope: AccountScope, title: str) -> str:
    return str(redact(title, known_to(scope.account_id)))[:TITLE_MAX]
