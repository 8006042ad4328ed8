"""Two beats, and so two reconcilers at once."""

from __future__ import annotations

import time

from chaos.faults import Fault
from chaos.field import Field

LASTS_S = 5.0


def two_beats(field: Field) -> None:
    """A second beat for some seconds: every reminder comes twice."""
    second = field.rig.start(
        "beat2", "celery", "-A", "tasks", "beat", "-s", str(field.rig.home.run / "beat2"), "--pidfile="
    )
    time.sleep(LASTS_S)
    if second.dead:
        field.violated("the second beat did not run")
    second.kill()
    field.count("second beats")


FAULTS = (Fault("two-beats", "F15", two_beats),)
