"""The examples, played as their pages say: in a terminal."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local.rig import ROOT, Rig, until

pytestmark = pytest.mark.stack
EXAMPLE = ROOT / "examples" / "agent"
Umbel = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def umbel(stack: Rig) -> Umbel:
    """Starts the `umbel` command beside a worker that plays the scenario."""
    stack.forked(UMBEL_OFFLINE_SCENARIO=str(EXAMPLE / "scenario.json"), UMBEL_MODEL="offline:demo")
    environment = {"UMBEL_URL": stack.url, "UMBEL_API_KEY": stack.key, "PATH": os.environ["PATH"]}
    environment["PYTHONPATH"] = str(ROOT / "client")

    def start(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "umbel_client", *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)

    return start


def said(process: "subprocess.Popen[str]") -> str:
    found, _ = process.communicate(timeout=60)
    assert process.returncode == 0, found
    return found


def submit(umbel: Umbel, name: str) -> "subprocess.Popen[str]":
    return umbel("submit", "agent", "--input", f"@{Path('examples/agent') / name}", "--watch")


def test_the_tools_with_what_they_were_given_and_gave_and_the_answer_are_seen(umbel: Umbel) -> None:
    seen = said(submit(umbel, "task.json"))
    lines = [line.split(maxsplit=2)[2] for line in seen.splitlines() if " tool." in line]
    assert [line.split()[:2] for line in lines] == [
        ["tool.called", "tool:1:calculator"],
        ["tool.completed", "tool:1:calculator"],
        ["tool.called", "tool:2:datetime"],
        ["tool.completed", "tool:2:datetime"],
    ]
    assert '"42.195 km * 5 min/km' in lines[0]
    assert '"value": 14346.3' in lines[1]
    assert "    At 5:40 min/km a marathon takes you" in seen
    assert seen.splitlines()[-1].split()[2] == "succeeded"


def test_who_watches_is_told_how_to_answer_and_the_answer_lets_it_go_on(umbel: Umbel) -> None:
    watching = submit(umbel, "asking.json")
    (asked,) = until(lambda: json.loads(said(umbel("approvals", "--json"))), "a person is asked")
    assert "approve: datetime" in said(umbel("decide", asked["id"], "approve"))
    seen = said(watching)
    assert "approval.requested approve:tool:2:datetime datetime: " in seen
    assert f"umbel approvals --task {asked['task_id']}" in seen
    assert seen.count("tool.called") == 2


def test_an_editor_s_result_is_merged_with_what_somebody_else_saved(stack: Rig) -> None:
    stack.forked()
    environment = {"UMBEL_URL": stack.url, "UMBEL_API_KEY": stack.key, "PATH": os.environ["PATH"]}
    environment["PYTHONPATH"] = str(ROOT / "client")
    command = [sys.executable, "examples/editor.py"]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("succeeded: 1 of the given files changed."), shown.stdout + shown.stderr
    assert lines[1].startswith("project_drift: ")
    assert "import os" not in lines and "    return json.dumps(value)" in lines
    assert lines[-3:] == ["snapshot 3: both are good", "snapshot 2: somebody else's", "snapshot 1: begin"]
