"""A worker whose clock is an hour off: leases and timers are PostgreSQL's, so nothing changes hands."""

from __future__ import annotations

import glob
import os
import time

from chaos.faults import Fault
from chaos.field import Field

LIBRARIES = "/usr/lib/*/faketime/libfaketime.so.1"
LASTS_S = 5.0


def jump(hours: int) -> Fault:
    """One worker lives `hours` away from everyone else, and jumps back in the middle of it."""

    def inject(field: Field) -> None:
        library = next(iter(glob.glob(LIBRARIES)), None)
        if library is None:
            return _lacking(field)
        offset = field.rig.home.path / f"offset-{field.counts.get('clock jumps', 0)}"
        offset.write_text(f"{hours:+d}h\n", encoding="utf-8")
        worker = field.start_astray(
            LD_PRELOAD=library, FAKETIME_TIMESTAMP_FILE=str(offset), FAKETIME_NO_CACHE="1", DONT_FAKE_MONOTONIC="1"
        )
        time.sleep(LASTS_S)
        offset.write_text("+0\n", encoding="utf-8")
        time.sleep(1)
        field.count("clock jumps")
        field.kill_process(worker)
        return None

    return Fault(f"clock-{'forward' if hours > 0 else 'back'}", "F14", inject)


def _lacking(field: Field) -> None:
    message = "the clock cannot be faked: install libfaketime (apt-get install libfaketime)"
    if os.environ.get("CI"):
        field.violated(message)
    field.say(f"left out: {message}")


FAULTS = (jump(1), jump(-1))
