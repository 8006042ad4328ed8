"""What a run makes and keeps: files of a type, under names, with versions.

    bytes → held and put, in a thread → the version's row, its event and the step's result in one fenced write

Until that write nobody sees anything of it; a run that dies before leaves bytes nobody refers to, which are collected.
"""

import asyncio
import io
import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import imagesize

from models import media
from models.artifact_types import NAME_MAX, TITLE_MAX, ArtifactType
from models.base import new_id
from models.blobs import BlobStore, Received, receiving
from models.errors import ModelError
from models.events import EventType
from models.keeping import Keeper
from models.repositories import artifacts as rows
from models.repositories.artifacts import NewVersion
from models.scope import ENGINE, AccountScope
from worker.errors import StepFailed
from worker.journal import Journal, StepCall

#: Characters a preview shows, and bytes of text that are searched.
PREVIEW = 2000
SEARCHED = 256 * 1024
#: Writers at once in one worker: each waits for a disk and has a connection of its own.
AT_ONCE = 2
PIECE = 1024 * 1024
_UNNAMEABLE = re.compile(r"[\x00-\x1f\x7f]")

Content = str | bytes | Path


@dataclass(frozen=True, slots=True)
class Draft:
    """Something to keep.

    Attributes:
        name: unique in the task; the same again is the next version.
        type: one of `ArtifactType`.
        content: text, bytes, or a file to copy.
        title: for people; the name by default.
        media_type: by default told by the content and the name.
    """

    name: str
    type: str
    content: Content
    title: str | None = None
    media_type: str | None = None

    def __post_init__(self) -> None:
        ArtifactType(self.type)
        if not 0 < len(self.name) <= NAME_MAX or _UNNAMEABLE.search(self.name):
            raise ValueError(f"an artifact's name has 1 to {NAME_MAX} characters and no control characters")


class Shelf:
    """Puts bytes into the store for all runs of this process, a few at a time."""

    def __init__(self, keeper: Keeper, store: BlobStore, most: int) -> None:
        self._keeper = keeper
        self._store = store
        self._most = most
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def secure(self, scope: AccountScope, draft: Draft) -> tuple[Received, str]:
        """Put a draft's bytes where a row may refer to them; return what came in, and its beginning as text if it is.

        Raises:
            ModelError: too large, over the quota, or the store can't take it now.
        """
        async with self._turn:
            return await asyncio.to_thread(self._secure, scope, draft)

    async def read(self, sha256: str, size: int) -> bytes:
        """Return bytes of the store, whole."""
        async with self._turn:
            return await asyncio.to_thread(self._read, sha256, size)

    def _secure(self, scope: AccountScope, draft: Draft) -> tuple[Received, str]:
        with receiving(self._store, self._most) as incoming:
            if isinstance(draft.content, Path):
                with draft.content.open("rb") as file:
                    while piece := file.read(PIECE):
                        incoming.write(piece)
            else:
                content = draft.content
                incoming.write(content.encode(errors="replace") if isinstance(content, str) else content)
            received = incoming.received()
            with received.path.open("rb") as file:
                beginning = file.read(SEARCHED)
            self._keeper.secure(scope, [received])
        text = media.looks_like_text(beginning)
        return received, beginning.decode(errors="ignore") if text else ""

    def _read(self, sha256: str, size: int) -> bytes:
        with self._store.open(sha256, size) as file:
            return file.read()


class Artifacts:
    """The artifacts of one run."""

    def __init__(self, journal: Journal, shelf: Shelf) -> None:
        self._journal = journal
        self._shelf = shelf
        self._scope = AccountScope(journal.claim.account_id)
        self._versions: dict[str, tuple[UUID, int]] = {}
        self._counting = asyncio.Lock()
        self._calls: Counter[str] = Counter()

    def key(self, name: str) -> str:
        """Return the step's key for the next time this name is written; the same on every attempt."""
        self._calls[name] += 1
        return f"artifact:{self._calls[name]}:{name}"

    async def keep(self, step: StepCall, draft: Draft) -> dict[str, Any]:
        """Add an artifact's next version to what `step` will record; return what may be said of it.

        Raises:
            StepFailed: too large, over the quota, or the store can't take it now (then retryable).
        """
        try:
            received, text = await self._shelf.secure(self._scope, draft)
            artifact_id, number = await self._next(draft.name)
        except ModelError as error:
            raise StepFailed(str(error), code=error.code, retryable=error.retryable) from error
        made = _version(step, draft, received, text, artifact_id, number)
        step.kept.append(made)
        kind = EventType.ARTIFACT_CREATED if number == 1 else EventType.ARTIFACT_UPDATED
        step.told.append(step.event(kind, step=step.key, **made.told()))
        return made.told()

    async def find(self, name: str, most: int) -> bytes | None:
        """Return the newest content of the task's artifact of this name; None if there is none or it is too large.

        Raises:
            StepFailed: the store can't be read now; retryable.
        """
        named = partial(_named, scope=self._scope, task_id=self._journal.hold.task_id, name=name)
        row = await self._journal.store.read(named)
        return None if row is None or row.size > most else await self.read(row.sha256, row.size)

    async def read(self, sha256: str, size: int) -> bytes:
        """Return bytes of the account's, whole.

        Raises:
            StepFailed: the store can't be read now; retryable.
        """
        try:
            return await self._shelf.read(sha256, size)
        except ModelError as error:
            raise StepFailed(str(error), code=error.code, retryable=error.retryable) from error

    async def _next(self, name: str) -> tuple[UUID, int]:
        # This run is the only writer of its task's artifacts while it holds the lease.
        async with self._counting:
            if name not in self._versions:
                find = partial(_latest, task_id=self._journal.hold.task_id, name=name)
                known: tuple[UUID, int] | None = await self._journal.store.read(find)
                self._versions[name] = known or (new_id(), 0)
            artifact_id, number = self._versions[name]
            self._versions[name] = (artifact_id, number + 1)
            return self._versions[name]


def _latest(connection: Any, task_id: UUID, name: str) -> tuple[UUID, int] | None:
    return rows.latest(connection, ENGINE, task_id, name)


def _named(connection: Any, scope: AccountScope, task_id: UUID, name: str) -> rows.ArtifactRow | None:
    return rows.by_name(connection, scope, task_id, name)


def _version(step: StepCall, draft: Draft, received: Received, text: str, artifact_id: UUID, number: int) -> NewVersion:
    return NewVersion(
        id=artifact_id,
        name=draft.name,
        title=(draft.title or draft.name)[:TITLE_MAX],
        type=draft.type,
        version=number,
        step=step.key,
        media_type=draft.media_type or media.media_type(received.head, draft.name, None),
        size=received.size,
        sha256=received.sha256,
        preview=preview(received, text),
        text=text,
    )


def preview(received: Received, text: str) -> dict[str, Any]:
    """Return what is shown of bytes without reading them: the beginning of text, or an image's width and height."""
    if text or not received.size:
        return {"text": text[:PREVIEW], "truncated": len(text) > PREVIEW}
    try:
        width, height = imagesize.get(io.BytesIO(received.head))
    except (ValueError, OSError, OverflowError):  # cut short, or not what it seemed
        return {}
    return {"width": int(width), "height": int(height)} if width > 0 and height > 0 else {}
