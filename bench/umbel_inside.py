"""Submitting as the front does, without HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from config.settings import get_settings
from models import keys
from models.database import connect
from models.repositories import accounts, tasks
from models.repositories.tasks import NewTask
from models.scope import OPERATIONS, AccountScope
from tasks import dispatch


def submitter(key: str, connections: int) -> Callable[[str, dict[str, Any]], None]:
    """Return a function that submits a task of a workflow; safe in as many threads as there are connections."""
    settings = get_settings()
    database = connect(settings, pool_size=connections)
    public_id = keys.public_id(key)
    assert public_id is not None
    found = database.read(lambda connection: accounts.find_key(connection, OPERATIONS, public_id))
    assert found is not None
    scope = AccountScope(found.account_id, found.user_id, found.id)

    def submit(workflow: str, given: dict[str, Any]) -> None:
        new = NewTask(workflow, given, settings.max_attempts)
        task = database.run(lambda connection: tasks.submit(connection, scope, new)).task
        assert dispatch.ring(task.run_id, task.workflow, priority=task.priority), "Redis is away"

    return submit
