"""One Celery task per declared workflow, so that Flower and routing show real names."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from tasks import dispatch, runtime
from tasks.base import FAILURES, RunFailed
from tasks.celery import app
from worker.engine import Ended
from worker.workflows import WORKFLOWS

#: Ends of a run that teach something.
TAUGHT = FAILURES | {Ended.SUCCEEDED}


async def execute(run_id: str) -> str:
    """Carry the run on; the engine decides everything."""
    ended = await runtime.engine().execute(UUID(run_id))
    if ended in FAILURES:
        raise RunFailed(ended)
    return ended


def teaching(name: str) -> Callable[[str], Awaitable[str]]:
    """Return what carries a run on and, once it has ended, rings for it to be learned from."""

    async def execute_and_teach(run_id: str) -> str:
        """Carry the run on; the engine decides everything."""
        ended = await runtime.engine().execute(UUID(run_id))
        if ended in TAUGHT:
            await asyncio.to_thread(dispatch.ring_learning, UUID(run_id), name)
        if ended in FAILURES:
            raise RunFailed(ended)
        return ended

    return execute_and_teach


for _name, _declared in WORKFLOWS.items():
    app.task(name=f"workflow.{_name}")(teaching(_name) if _declared.learns else execute)
