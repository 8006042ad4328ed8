"""Processes that a killed run left behind."""

from __future__ import annotations

import signal
from contextlib import suppress

import psutil

from local.home import Home
from local.supervision import MARK


def left_behind(home: Home) -> list[psutil.Process]:
    """Processes of this home's stack that have no living parent in it."""
    marked = {process.pid: process for process in psutil.process_iter() if _belongs(process, home)}
    return [process for process in marked.values() if _parent(process) not in marked]


def end(processes: list[psutil.Process], patience_s: float = 15) -> list[str]:
    """End `processes` with their children: politely, after `patience_s` seconds by force.

    Returns their names and pids.
    """
    everyone = {child for process in processes for child in _family(process)}
    names = [f"{_name(process)} (pid {process.pid})" for process in processes]
    for process in processes:
        _send(process, signal.SIGINT if _name(process) == "postgres" else signal.SIGTERM)
        _send(process, signal.SIGCONT)
    _, stubborn = psutil.wait_procs(list(everyone), timeout=patience_s)
    for process in stubborn:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=5)
    return names


def _belongs(process: psutil.Process, home: Home) -> bool:
    """By our mark in its environment or, for a server that overwrites that memory, by where it works."""
    try:
        if process.environ().get(MARK) == str(home.path):
            return True
        server = {"postgres": "postgres", "redis-server": "redis"}.get(process.name())
        return server is not None and process.cwd() == str((home.path / server).resolve())
    except (psutil.Error, OSError):
        return False


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return "process"


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
