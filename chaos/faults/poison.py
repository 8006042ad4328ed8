"""A task that kills whichever worker takes it: it ends as dead, and nobody else is harmed."""

from __future__ import annotations

from chaos.faults import Fault
from chaos.field import Field

PATIENCE_S = 60.0


def poisoned(field: Field) -> None:
    """Hand in a poisonous task and wait until the system has given it up."""
    key = f"poison-{field.seed}-{field.counts.get('poison tasks', 0)}"
    with field.client() as client:
        task = client.submit("poison", {}, idempotency_key=key)
        ended = client.wait(task.id, timeout=PATIENCE_S)
    if ended.status != "dead":
        field.violated(f"a task that kills its workers ended as {ended.status}")
    field.count("poison tasks")


FAULTS = (Fault("poison", "F17", poisoned),)
