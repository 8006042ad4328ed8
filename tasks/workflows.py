"""One Celery task per declared workflow, so that Flower and routing show real names."""

from uuid import UUID

from tasks import runtime
from tasks.base import FAILURES, RunFailed
from tasks.celery import app
from worker.workflows import WORKFLOWS


async def execute(run_id: str) -> str:
    """Carry the run on; the engine decides everything."""
    ended = await runtime.engine().execute(UUID(run_id))
    if ended in FAILURES:
        raise RunFailed(ended)
    return ended


for _name in WORKFLOWS:
    app.task(name=f"workflow.{_name}")(execute)
