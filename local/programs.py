"""What runs: each program's command line and how it is stopped."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from config.settings import Settings
from local.home import Home
from local.server import Server
from local.urls import web_url

ROOT = Path(__file__).resolve().parent.parent
QUEUES = "recovery,maintenance,code_explain,code_patch,code_lint_fix,interactive,batch,code_generate_test"
RESCUE_SLOTS = "20"


@dataclass(frozen=True)
class Program:
    """One supervised process. `stop_wait_s` seconds after its stop signal the whole process group is killed.

    `priority` orders stopping: the higher, the earlier. Only a program that `inherits` sees the stack's environment,
    which holds passwords.
    """

    name: str
    title: str
    command: tuple[str, ...]
    priority: int
    stop_signal: str = "TERM"
    stop_wait_s: int = 15
    user: str = ""
    directory: Path = ROOT
    inherits: bool = True


def server_program(server: Server, priority: int) -> Program:
    """The supervised form of a server that tests also run directly: the same command line and account."""
    return Program(
        name=server.name,
        title=server.title,
        command=tuple(server.command()),
        inherits=False,
        priority=priority,
        stop_signal=server.stop_signal.name.removeprefix("SIG"),
        stop_wait_s=30,
        user=server.home.run_as.name,
        directory=server.data,
    )


def product_programs(home: Home, settings: Settings) -> list[Program]:
    """web, worker, beat and Flower, started from the repository with the stack's environment."""
    celery = (sys.executable, "-m", "celery", "-A", "tasks")
    # Workers have nothing to ask of each other (mingle waits a second for it) nor to tell (gossip): the record knows.
    worker = ("worker", "--pool", "custom", "--without-mingle", "--without-gossip", "-l", settings.log_level)
    # Its slots stay free for what was lost or is due when the other's are all taken.
    rescue = ("-c", RESCUE_SLOTS, "-Q", "recovery,maintenance", "-n", "rescue@%h")
    beat = ("beat", "--schedule", str(home.run / "beat.db"), "--pidfile=", "-l", settings.log_level)
    flower = (
        "flower", "--address=127.0.0.1", f"--port={settings.flower_port}", "--persistent=True",
        f"--db={home.run / 'flower.db'}", "--read_only=True",
    )  # fmt: skip
    web = (sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.py", "web:create_app()")
    called = [word for host in settings.mcp_hosts for word in ("--allow-host", host)]
    called += [word for origin in settings.allowed_origins for word in ("--allow-origin", origin)]
    client = (sys.executable, "-m", "umbel_client", "--url", web_url(settings))
    mcp = (*client, "mcp", "--port", str(settings.mcp_port), *called)
    return [
        Program("web", "web", web, priority=30, stop_wait_s=25),
        # A client like any other: it is shown none of the stack's secrets.
        Program("mcp", "MCP server", mcp, priority=40, inherits=False),
        Program("worker", "worker", (*celery, *worker, "-Q", QUEUES, "-n", "umbel@%h"), priority=30, stop_wait_s=30),
        Program("rescue", "recovery worker", (*celery, *worker, *rescue), priority=30, stop_wait_s=30),
        Program("beat", "beat", (*celery, *beat), priority=40),
        Program("flower", "Flower", (*celery, *flower), priority=40),
    ]
