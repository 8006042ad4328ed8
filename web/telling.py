"""Tells whoever can act on what was written of a task."""

from models.repositories.requests import Asked
from tasks import dispatch


def tell(asked: Asked, *, fresh: bool = False, quiet: bool = False) -> None:
    """Push its frame, and tell those who hold the runs it concerns, or ring for them; to be called after the commit.

    Args:
        asked: what was written.
        fresh: its run was never started.
        quiet: nobody need act on it but who learns from it.
    """
    if asked.frame is not None:
        dispatch.publish([asked.frame])
    if asked.held:
        dispatch.notify(asked.run_id)
    elif quiet:
        dispatch.ring_learning(asked.run_id, asked.workflow)
    else:
        dispatch.ring(asked.run_id, asked.workflow, priority=asked.priority, recovery=not fresh, queue=asked.queue)
    for each in asked.relatives:
        if each.held:
            dispatch.notify(each.run_id)
        else:
            dispatch.ring(each.run_id, each.workflow, priority=each.priority, recovery=True)
