"""What RQ's workers import."""

from __future__ import annotations

import time


def noop() -> float:
    """Nothing but the time."""
    return time.time()
