"""Streams of requests and the tools that answer them, for the experiment with patterns.

Public ones are the multi-turn tasks of BFCL v4 (Apache-2.0), which ship inside the wheel bfcl-eval; it is downloaded
once and only read. Generated ones have a known structure and need no network.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
WHEEL = "bfcl_eval-2026.3.23-py3-none-any.whl"
SHA256 = "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a"
FOLDER = ROOT / ".umbel" / "bench-data"
_DATA = "bfcl_eval/data/"
_TASKS = "BFCL_v4_multi_turn_base.json"


class Turn(NamedTuple):
    """A request, the tools that answer it in order, and the tools there are for it."""

    text: str
    tools: tuple[str, ...]
    toolset: frozenset[str]


class Stream(NamedTuple):
    """Requests in order, and what models are told of their tools: a description and a schema for each name."""

    turns: list[Turn]
    tools: dict[str, tuple[str, dict[str, Any]]]


def bfcl() -> Stream:
    """Return the turns of BFCL's multi-turn tasks, 731 with 81 tools.

    Raises:
        subprocess.CalledProcessError: the wheel can't be had.
        ValueError: it is another one than it should be.
    """
    with zipfile.ZipFile(_wheel()) as wheel:
        answers = {each["id"]: each["ground_truth"] for each in _lines(wheel, f"possible_answer/{_TASKS}")}
        told = _tools(wheel)
        tools_of = {name: frozenset(each["name"] for each in tools) for name, tools in told.items()}
        turns = [turn for task in _lines(wheel, _TASKS) for turn in _turns(task, answers[task["id"]], tools_of)]
    known = {each["name"]: (each["description"], each["parameters"]) for tools in told.values() for each in tools}
    return Stream(turns, known)


def generated(turns: int, seed: int, kinds: int = 40) -> Stream:
    """Return requests of `kinds` kinds, each with its tools; neighbouring kinds share words and often a toolset."""
    chance = random.Random(seed)
    words = [f"{chance.choice(_SYLLABLES)}{chance.choice(_SYLLABLES)}{number}" for number in range(kinds * 4 + 12)]
    said = [chance.sample(words[number * 4 : number * 4 + 16], 12) for number in range(kinds)]
    classes = [tuple(f"api{number // 4}_{name}" for name in range(12)) for number in range(kinds)]
    done = [tuple(chance.sample(tools, chance.choice((1, 2, 2, 3)))) for tools in classes]
    made = []
    for _ in range(turns):
        kind = chance.randrange(kinds)
        text = [*chance.sample(said[kind], 5), *chance.sample(words, 5)]
        chance.shuffle(text)
        made.append(Turn(" ".join(text), done[kind], frozenset(classes[kind])))
    return Stream(made, {name: ("", {}) for tools in classes for name in tools})


_SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fe",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "ri",
    "so",
    "tu",
    "va",
    "we",
    "zi",
)


def _turns(
    task: dict[str, Any], answers: Sequence[Sequence[str]], tools_of: dict[str, frozenset[str]]
) -> Iterator[Turn]:
    toolset = frozenset[str]().union(*(tools_of[name] for name in task["involved_classes"]))
    for messages, calls in zip(task["question"], answers):
        tools = tuple(dict.fromkeys(call.split("(")[0] for call in calls))
        text = " ".join(each["content"] for each in messages if each["role"] == "user")
        if tools and text:
            yield Turn(text, tools, toolset | frozenset(tools))


def _tools(wheel: zipfile.ZipFile) -> dict[str, list[dict[str, Any]]]:
    names = {
        "GorillaFileSystem": "gorilla_file_system", "MathAPI": "math_api", "MessageAPI": "message_api",
        "TwitterAPI": "posting_api", "TicketAPI": "ticket_api", "TradingBot": "trading_bot",
        "TravelAPI": "travel_booking", "VehicleControlAPI": "vehicle_control",
    }  # fmt: skip
    return {name: _lines(wheel, f"multi_turn_func_doc/{file}.json") for name, file in names.items()}


def _lines(wheel: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in wheel.read(_DATA + name).decode().splitlines()]


def _wheel() -> Path:
    path = FOLDER / WHEEL
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        name, version, *_ = WHEEL.split("-")
        asked = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*asked, "--dest", str(FOLDER), f"{name}=={version}"], check=True)
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{path} is not the wheel that was measured with; delete it and try again")
    return path
