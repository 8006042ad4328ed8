"""Long polls: wait for a task's end without holding a database connection."""

import time
from uuid import UUID

from models.events import FINAL
from models.repositories import tasks
from models.repositories.tasks import TaskRow
from models.scope import AccountScope
from web.services import Services
from web.stream.cursor import Cursor
from web.stream.mailbox import Subscription


def wait_for_end(held: Services, scope: AccountScope, task_id: UUID, wait_s: float) -> TaskRow:
    """Return the task as soon as it has ended, or as it is after `wait_s` seconds.

    Raises:
        models.errors.NotFound: the account has no such task.
        models.errors.Unavailable: PostgreSQL can't be reached.
        models.errors.NoFreePlace: the process has no place left.
    """
    task = read(held, scope, task_id)
    wait_s = min(wait_s, held.settings.long_poll_max_s)
    if task.terminal or wait_s <= 0:
        return task
    with held.hub.place() as mailbox:
        return _watch(held, scope, task, Subscription(mailbox, scope, task.id, Cursor(task.last_seq)), wait_s)


def read(held: Services, scope: AccountScope, task_id: UUID) -> TaskRow:
    """Return the task as it is now. Raises as `wait_for_end` does."""
    return held.database.read(lambda connection: tasks.get(connection, scope, task_id))


def _watch(held: Services, scope: AccountScope, task: TaskRow, subscription: Subscription, wait_s: float) -> TaskRow:
    deadline = time.monotonic() + wait_s
    held.hub.add(subscription)
    subscription.joined = True
    try:
        task = read(held, scope, task.id)  # it may have ended before Redis confirmed
        while not task.terminal and time.monotonic() < deadline and not subscription.mailbox.closed:
            subscription.cursor.seq = task.last_seq
            if _ended(subscription, deadline):
                task = read(held, scope, task.id)
        return task
    finally:
        held.hub.remove(subscription)


def _ended(subscription: Subscription, deadline: float) -> bool:
    """Wait for notices; whether it is worth reading the row again."""
    work = subscription.mailbox.next(max(0.0, deadline - time.monotonic()))
    if work is None:
        return time.monotonic() >= deadline
    if isinstance(work, Subscription):
        return True
    for _, envelope in work:
        if envelope.frame["type"] in FINAL:
            return True
        subscription.cursor.seq = max(subscription.cursor.seq, envelope.frame["seq"])
    return False
