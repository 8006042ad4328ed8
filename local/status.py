"""What runs, since when, and what it weighs."""

from __future__ import annotations

from datetime import timedelta

import psutil
from rich.table import Table

from local.supervision import Supervisor


def status_table(supervisor: Supervisor) -> Table:
    """One row per program with its whole process tree's memory. Raises NotRunning."""
    states = supervisor.states()
    table = Table("process", "state", "pid", "uptime", "processes", "memory", box=None, header_style="bold")
    total = 0
    for state in states:
        processes, weight = _weigh(state.pid)
        total += weight
        uptime = str(timedelta(seconds=state.uptime_s)) if state.pid else ""
        pid = str(state.pid) if state.pid else ""
        table.add_row(state.name, state.state.lower(), pid, uptime, str(processes), _mib(weight))
    own = supervisor.pid()
    weight = _weigh_one(psutil.Process(own)) if own else 0
    table.add_row("supervisor", "running", str(own or ""), "", "1", _mib(weight))
    table.add_row("total", "", "", "", "", _mib(total + weight), style="bold")
    return table


def _weigh(pid: int) -> tuple[int, int]:
    """Number of processes under `pid` and their memory in bytes."""
    if not pid:
        return 0, 0
    try:
        leader = psutil.Process(pid)
        family = [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0, 0
    return len(family), sum(_weigh_one(process) for process in family)


def _weigh_one(process: psutil.Process) -> int:
    """Bytes of RAM: the proportional share where the system tells, since PostgreSQL's processes share theirs."""
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", 0) or full.rss)
    except psutil.NoSuchProcess:
        return 0
    except psutil.AccessDenied:
        return int(process.memory_info().rss)


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
