"""Every watcher's connection is cut again and again, all at once."""

from __future__ import annotations

import time

from chaos.faults import Fault
from chaos.field import Field

CUTS = 20
EVERY_S = 0.1


def cut_streams(field: Field) -> None:
    """Reset all streams, twenty times in two seconds."""
    for _ in range(CUTS):
        field.count("streams cut", field.front_proxy.cut())
        time.sleep(EVERY_S)


FAULTS = (Fault("cut-streams", "F13", cut_streams),)
