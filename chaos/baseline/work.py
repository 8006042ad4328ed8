"""What a task does, as Celery and DBOS are given it. Runs in the peers' environment: standard library only."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The calls of a task in their order: name, how the provider behaves, whether the provider can know a repeated one.
CALLS = (("first", "slow", True), ("middle", "slow", False), ("last", "ok", True))
TIMEOUT_S = 30


def call(number: int, name: str, behave: str, keyed: bool) -> int:
    """Call the provider once and return the charge."""
    url = f"{os.environ['BASELINE_PROVIDER']}/charge?task={number}.{name}&behave={behave}"
    headers = {"Idempotency-Key": f"{number}:{name}"} if keyed else {}
    request = urllib.request.Request(url, data=b"{}", headers=headers, method="POST")  # noqa: S310 - a URL of ours
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        return int(json.load(answer)["charge"])


def finished(number: int) -> None:
    """Write down that the task ran to its end."""
    with Path(os.environ["BASELINE_FINISHED"]).open("a", encoding="utf-8") as file:
        file.write(f"{number}\n")


def drive(submit: Callable[[int], None], status: Callable[[int], str]) -> None:
    """Answer the commands of `systems.Driver`, one JSON line each, until there are no more."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), submit, status)), flush=True)


def _answer(asked: dict[str, Any], submit: Callable[[int], None], status: Callable[[int], str]) -> dict[str, Any]:
    try:
        if asked["do"] == "submit":
            submit(asked["number"])
            return {}
        return {"statuses": [status(number) for number in asked["numbers"]]}
    except Exception as error:  # the server is away: whoever asked tries again, as a user would
        return {"error": f"{type(error).__name__}: {error}"}
