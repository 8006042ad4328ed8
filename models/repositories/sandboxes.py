"""Files of sandboxes between the steps of a run. Only the run's holder writes; the newest few are kept, for a while."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models.scope import SystemScope

#: Steps under way together may be recorded in another order than they ran; more than that is never looked back.
KEPT = 4
KEPT_DAYS = 7

_SAVE = """
INSERT INTO sandbox_snapshots AS s (step, run_id, content)
SELECT %(step)s, id, %(content)s FROM runs WHERE id = %(run_id)s AND fence = %(fence)s
ON CONFLICT (step) DO UPDATE
SET run_id = EXCLUDED.run_id, content = EXCLUDED.content, number = DEFAULT, taken_at = now()
RETURNING step
"""
_FORGET = """
DELETE FROM sandbox_snapshots WHERE taken_at < now() - %(days)s * interval '1 day' OR step IN (
    SELECT step FROM sandbox_snapshots WHERE run_id = %(run_id)s ORDER BY number DESC OFFSET %(kept)s
)
"""
_NEWEST = """
SELECT step, content FROM sandbox_snapshots WHERE step = ANY(%(steps)s) ORDER BY number DESC LIMIT 1
"""


class Snapshot(NamedTuple):
    """What a step left; `content` is None if it was too large to be kept."""

    step: str
    content: bytes | None


def save(
    connection: Connection, scope: SystemScope, run_id: UUID, fence: int, step: str, content: bytes | None
) -> bool:
    """Keep the work directory as a step left it; False if the run is another's by now."""
    told = {"run_id": run_id, "fence": fence, "step": step, "content": content}
    saved = connection.exec_driver_sql(_SAVE, told).one_or_none() is not None
    connection.exec_driver_sql(_FORGET, {"run_id": run_id, "days": KEPT_DAYS, "kept": KEPT})
    return saved


def newest(connection: Connection, scope: SystemScope, steps: Sequence[str]) -> Snapshot | None:
    """Return the newest snapshot that one of these steps left."""
    row = connection.exec_driver_sql(_NEWEST, {"steps": list(steps)}).one_or_none()
    return None if row is None else Snapshot(row[0], None if row[1] is None else bytes(row[1]))
