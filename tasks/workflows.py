"""One Celery task per declared workflow, so that Flower and routing show real names."""

import asyncio
from uuid import UUID

from config.settings import get_settings
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


async def execute_and_learn(run_id: str) -> str:
    """Carry the run on, and ring for it to be learned from once it has ended."""
    ended = await runtime.engine().execute(UUID(run_id))
    if ended in TAUGHT and get_settings().pattern_learning:
        await asyncio.to_thread(dispatch.ring_learning, UUID(run_id))
    if ended in FAILURES:
        raise RunFailed(ended)
    return ended


for _name, _declared in WORKFLOWS.items():
    app.task(name=f"workflow.{_name}")(execute_and_learn if _declared.learns else execute)
