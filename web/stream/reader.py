"""The consuming end: turns rows, pushed frames and texts into one exact sequence per task."""

from typing import TypeGuard
from uuid import UUID

from models.errors import Unavailable
from models.events import FINAL, Frame
from models.repositories.events import Page
from models.scope import AccountScope
from web.stream.cursor import Cursor, Need
from web.stream.hub import Hub
from web.stream.mailbox import Envelope, Mailbox, Subscription
from web.stream.source import Source

#: After PostgreSQL could not be read, wait this long.
ROWS_PAUSE_S = 1.0


class Reader:
    """What one connection reads. All methods but `mailbox.wake` and `mailbox.close` belong to its own thread."""

    def __init__(self, hub: Hub, source: Source, mailbox: Mailbox) -> None:
        self._hub = hub
        self._source = source
        self.mailbox = mailbox
        self.subscriptions: dict[UUID, Subscription] = {}

    def watch(self, scope: AccountScope, task_id: UUID, after: int, offsets: dict[int, int] | None = None) -> None:
        """Follow a task from the event after `after`; `offsets` says how much of which open text is known already.

        Whoever calls has checked that the task is the account's. Watching again starts over from `after`.
        """
        self.unwatch(task_id)
        subscription = Subscription(self.mailbox, scope, task_id, Cursor(after, offsets))
        self.subscriptions[task_id] = subscription
        self.mailbox.mark_behind(subscription)
        self._hub.add(subscription)

    def unwatch(self, task_id: UUID) -> bool:
        """Stop following a task; False if it was not followed."""
        subscription = self.subscriptions.pop(task_id, None)
        if subscription is None:
            return False
        self._hub.remove(subscription)
        self.mailbox.forget(subscription)
        return True

    def close(self) -> None:
        """Stop following everything."""
        for task_id in list(self.subscriptions):
            self.unwatch(task_id)

    @property
    def finished(self) -> bool:
        """Whether every followed task's current run has ended and its last event was delivered."""
        return all(item.finished for item in self.subscriptions.values())

    def next(self, timeout: float) -> list[Envelope]:
        """Return what to deliver now, in order; empty after `timeout` seconds, a wake, or work without a result."""
        work = self.mailbox.next(timeout)
        if work is None:
            return []
        if isinstance(work, Subscription):
            return self._read_rows(work)
        return [ready for subscription, envelope in work for ready in self._pushed(subscription, envelope)]

    def _pushed(self, subscription: Subscription, envelope: Envelope) -> list[Envelope]:
        taken = subscription.cursor.take(envelope.frame)
        if taken is Need.TEXT:
            return self._fill_gap(subscription, envelope.frame)
        if taken is Need.ROWS:
            self.mailbox.mark_behind(subscription)
        if isinstance(taken, Need):
            return []
        if taken["type"] in FINAL:  # the rows say whether it ended the current run or an earlier one
            self.mailbox.mark_behind(subscription)
        return [envelope if taken is envelope.frame else Envelope(taken)]

    def _read_rows(self, subscription: Subscription) -> list[Envelope]:
        try:
            page = self._page(subscription)
        except Unavailable:
            self.mailbox.hold_rows(ROWS_PAUSE_S)
            self.mailbox.mark_behind(subscription)
            return []
        cursor = subscription.cursor
        taken = [cursor.take(frame) for frame in page.frames]
        found = [Envelope(frame) for frame in taken if not isinstance(frame, Need)]
        if found and cursor.seq < page.last_seq:
            self.mailbox.mark_behind(subscription)
            return found
        subscription.finished = page.terminal and cursor.seq >= page.last_seq
        return found + self._fill_texts(subscription)

    def _page(self, subscription: Subscription) -> Page:
        if subscription.joined:
            return self._source.page(subscription.scope, subscription.task_id, subscription.cursor.seq)
        page = self._source.join(subscription.scope, subscription.task_id, subscription.cursor)
        subscription.joined = True
        return page

    def _fill_texts(self, subscription: Subscription) -> list[Envelope]:
        """Bring open texts up to what Redis has."""
        filled = []
        for text in subscription.cursor.texts.values():
            streamed = self._source.text(subscription.task_id, text.started["seq"])
            if _usable(streamed, text.length + 1):
                filled.append(Envelope(text.delta(streamed)))
        return filled

    def _fill_gap(self, subscription: Subscription, delta: Frame) -> list[Envelope]:
        """Fetch the text up to a delta that came too early, or drop it: the completed event has the full text."""
        needed = delta["data"]["offset"] + len(delta["data"]["text"])
        streamed = self._source.text(subscription.task_id, delta["seq"])
        if not _usable(streamed, needed):
            return []
        return [Envelope(subscription.cursor.texts[delta["seq"]].delta(streamed))]


def _usable(streamed: str | None, needed: int) -> TypeGuard[str]:
    # Redis may have lost the beginning of a text; what is shorter than it must be can't be trusted.
    return streamed is not None and len(streamed) >= needed
