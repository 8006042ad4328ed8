"""Named points at which a fault test may kill this process. Without `UMBEL_CRASH_POINT` they do nothing."""

import os
import signal
from collections import Counter
from enum import StrEnum

from config.settings import get_settings


class Point(StrEnum):
    """Where a worker can be killed, in the order a run passes them."""

    BEFORE_CLAIM = "before_claim"
    AFTER_CLAIM = "after_claim"
    BEFORE_START = "before_start"
    AFTER_START = "after_start"
    AFTER_CALL = "after_call"
    AFTER_RESULT = "after_result"
    BEFORE_FINISH = "before_finish"
    AFTER_FINISH = "after_finish"


_passed: Counter[Point] = Counter()


def reached(point: Point) -> None:
    """Kill this process as `kill -9` would, if the setting names this point: `after_call`, or `after_call:3`."""
    if (wanted := get_settings().crash_point) and wanted.partition(":")[0] == point:
        _passed[point] += 1
        if _passed[point] == int(wanted.partition(":")[2] or 1):
            os.kill(os.getpid(), signal.SIGKILL)
