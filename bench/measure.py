"""What a process costs: CPU seconds and memory of it and its children, read from the kernel."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Usage:
    """CPU seconds used so far (user and system, ended children included) and memory now, in bytes."""

    cpu_s: float
    pss: int
    descriptors: int


def usage(pid: int) -> Usage:
    """Sum the process and its living descendants."""
    pss, descriptors = 0, 0
    for process in _family(pid):
        with suppress(psutil.Error):
            pss += process.memory_full_info().pss
            descriptors += process.num_fds()
    return Usage(cpu_s(pid), pss, descriptors)


def peak_mb(pid: int) -> float:
    """The most memory a process ever had, in MB, shared pages it touched included."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


class Meter:
    """CPU seconds that named process families use between `start()` and `stop()`.

    CPU time does not depend on how busy the machine is, unlike wall time (only caches and clocks disturb it).
    """

    def __init__(self, families: dict[str, int]) -> None:
        self._families = families
        self._before: dict[str, float] = {}

    def start(self) -> None:
        """Begin; may be called again."""
        self._before = {name: cpu_s(pid) for name, pid in self._families.items()}

    def stop(self) -> dict[str, float]:
        """Return CPU seconds per family since `start()`."""
        return {name: cpu_s(pid) - self._before[name] for name, pid in self._families.items()}


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, its living descendants, and those of its own children that ended."""
    total = 0.0
    for process in _family(pid):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
            if process.pid == pid:
                total += times.children_user + times.children_system
    return total


def percentile(values: Iterable[float], share: float) -> float:
    """The nearest-rank percentile, `share` from 0 to 1; NaN of nothing."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def _family(pid: int) -> list[psutil.Process]:
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
