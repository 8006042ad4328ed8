"""`python -m local run|up|down|status`: the one-machine stack from a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from rich.console import Console

from local.bootstrap import ensure_api_key, write_client_env
from local.configuration import flower_login, home_path
from local.console import say
from local.errors import LocalError
from local.first_task import run_first_task
from local.home import open_home
from local.stack import Stack
from local.status import status_table
from local.urls import mcp_url
from local.watch import StopRequested, ignore_signals, stand_by, stop_on_signals

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        stack = Stack(open_home(home_path()))
        return int(options.command(stack, options))
    except LocalError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1


def run(stack: Stack, options: argparse.Namespace) -> int:
    """Start, carry out a first task, serve until a signal (or, with --once, stop)."""
    stop_on_signals()
    try:
        stack.start()
    except StopRequested:
        return INTERRUPTED
    return _serve(stack, options.once)


def up(stack: Stack, options: argparse.Namespace) -> int:
    """Start in the background."""
    stop_on_signals()
    try:
        stack.start()
        _print_urls(_introduce(stack), stack)
    except StopRequested:
        return INTERRUPTED
    return 0


def down(stack: Stack, options: argparse.Namespace) -> int:
    """Stop what `up` or `run` started."""
    stack.stop()
    return 0


def status(stack: Stack, options: argparse.Namespace) -> int:
    """Show the processes."""
    table = status_table(stack.supervisor)
    Console().print(table)
    say(f"MCP server: {mcp_url(stack.settings)}")
    return 0


def _serve(stack: Stack, once: bool) -> int:
    try:
        client_env = _introduce(stack)
        run_first_task(client_env)
        _print_urls(client_env, stack)
        if not once:
            say("Serving. Ctrl-C stops everything.")
            stand_by(stack)
            return 0
    except StopRequested:
        say()
    finally:
        ignore_signals()
        stack.stop_if_running()
    return 0


def _introduce(stack: Stack) -> Mapping[str, str]:
    """Make sure there is a key, and write down where everything is."""
    key = ensure_api_key(stack.home, stack.settings)
    return write_client_env(stack.home, stack.settings, key, flower_login(stack.vault))


def _print_urls(client_env: Mapping[str, str], stack: Stack) -> None:
    say(f"""
  Page    {client_env["UMBEL_URL"]}/      tasks live, with the key below
  API     {client_env["UMBEL_URL"]}/v1      page of its operations: {client_env["UMBEL_URL"]}/docs
  Flower  {client_env["UMBEL_FLOWER_URL"]}
  MCP     {mcp_url(stack.settings)}
  Key     {client_env["UMBEL_API_KEY"]}      also in {stack.home.client_env}
""")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="Umbel on one machine")
    commands = parser.add_subparsers(required=True, metavar="command")
    for function in (run, up, down, status):
        command = commands.add_parser(function.__name__, help=(function.__doc__ or "").split("\n", 1)[0])
        command.set_defaults(command=function)
        if function is run:
            command.add_argument("--once", action="store_true", help="stop everything after the first task")
    return parser


if __name__ == "__main__":
    sys.exit(main())
