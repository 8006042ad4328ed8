"""Rapid requests of one person for the same place: equal ones share a task, of others the newest takes the place."""

from uuid import UUID

from models.repositories import equals, tasks
from models.repositories.tasks import NewTask, TaskRow
from models.scope import AccountScope
from web.services import services
from web.telling import tell


def under_way(scope: AccountScope, new: NewTask) -> TaskRow | None:
    """Return the open task that a request repeats, if it is to be shared; under an Idempotency-Key none is."""
    within_s, database = services().settings.debounce_s, services().database
    same, place = new.same, new.place
    if not within_s or same is None or place is None or new.idempotency_key or new.input.get("fresh"):
        return None
    found = database.read(lambda connection: equals.under_way(connection, scope, same, place, within_s))
    if found is None:
        return None
    task = database.read(lambda connection: tasks.get(connection, scope, found))
    return task if _asks_the_same(new, task) else None


def _asks_the_same(new: NewTask, task: TaskRow) -> bool:
    """Whether a request has nothing beside its input that the task has not."""
    about = (task.tags, task.metadata, task.priority, None, None, None)
    when = (new.run_after, new.deadline, new.concurrency_key)
    return (new.tags, new.metadata, new.priority, *when) == about


def supersede(scope: AccountScope, task_id: UUID, new: NewTask) -> None:
    """Ask older tasks to stop whose place the new one takes; that they go on is no reason to refuse the new one."""
    within_s, place = services().settings.debounce_s, new.place
    if not within_s or place is None:
        return
    for asked in services().database.run(lambda c: equals.supersede(c, scope, task_id, place, within_s)):
        tell(asked)
