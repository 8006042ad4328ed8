"""Ports on loopback: pick one, see whether one is taken, and by whom."""

from __future__ import annotations

import secrets
import socket

import psutil

from local.errors import PortBusy, ServerFailed

# Below the range from which outgoing connections draw, so that a remembered port is rarely taken at the next start.
PICK_FROM = range(15_000, 30_000)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on `host`:`port` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port nobody listens on. Raises ServerFailed if fifty random ones are all taken."""
    # From the system's randomness: two processes seeded alike would meet at every pick.
    for port in secrets.SystemRandom().sample(PICK_FROM, 50):
        if is_free("127.0.0.1", port):
            return port
    raise ServerFailed("no free port found on 127.0.0.1; close some servers")


def require_free(host: str, port: int, setting: str) -> None:
    """Raise PortBusy, naming the holder and the setting that moves us, if `port` is taken."""
    if is_free(host, port):
        return
    raise PortBusy(f"port {port} is in use by {holder(port)}; stop it, or choose another port: {setting}={port + 1}")


def holder(port: int) -> str:
    """The name and pid of the process listening on `port`, as far as we may see."""
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    except psutil.Error:
        listening = []
    pids = {c.pid for c in listening if c.laddr and c.laddr[1] == port and c.pid}
    for pid in sorted(pids):
        try:
            return f"{psutil.Process(pid).name()} (pid {pid})"
        except psutil.Error:
            continue
    return "another program"
