"""The examples, played as their pages say: in a terminal."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from local.rig import FAST, ROOT, Rig, open_rig, until

pytestmark = pytest.mark.stack
EXAMPLE = ROOT / "examples" / "agent"
PLATFORMS = ROOT / "examples" / "platforms"
Umbel = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def servers() -> Iterator[Rig]:
    """The stack as the pages have it started, with a workflow of one's own."""
    with open_rig({**FAST, "UMBEL_EXTRA_WORKFLOWS": '["examples.platforms.spec_to_code:SPEC_TO_CODE"]'}) as rig:
        rig.web()
        rig.forked_beat()
        yield rig


@pytest.fixture
def umbel(stack: Rig) -> Umbel:
    """Starts the `umbel` command beside a worker that plays the scenario."""
    stack.forked(UMBEL_OFFLINE_SCENARIO=str(EXAMPLE / "scenario.json"), UMBEL_MODEL="offline:demo")
    return partial(started, stack, "-m", "umbel_client")


def started(stack: Rig, *arguments: str) -> "subprocess.Popen[str]":
    environment = {"UMBEL_URL": stack.url, "UMBEL_API_KEY": stack.key, "PATH": os.environ["PATH"]}
    environment["PYTHONPATH"] = str(ROOT / "client")
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


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
    lines = said(started(stack, "examples/editor.py")).splitlines()
    assert lines[0].startswith("succeeded: 1 of the given files changed.")
    assert lines[1].startswith("project_drift: ")
    assert "import os" not in lines and "    return json.dumps(value)" in lines
    assert lines[-3:] == ["snapshot 3: both are good", "snapshot 2: somebody else's", "snapshot 1: begin"]


def test_a_platform_of_each_kind_runs(stack: Rig) -> None:
    stack.forked(UMBEL_OFFLINE_SCENARIO=str(PLATFORMS / "scenario.json"), UMBEL_MODEL="offline:demo")
    command = ("-m", "umbel_client", "submit", "spec_to_code", "--input", "@examples/platforms/spec.json", "--watch")
    running = {name: started(stack, f"examples/platforms/{name}.py") for name in ("computer", "supervisor", "chat")}
    building = started(stack, *command)
    computer, supervisor, chat = (said(each) for each in running.values())
    assert "handled by example-computer" in computer
    assert computer.count("tool.completed") == 2
    assert "The second one: its bar" in computer
    assert [line.split()[1] for line in supervisor.splitlines() if line.startswith("subagent.started")] == [
        *("triage", "data", "optimizations", "actions", "reporting")
    ]
    assert "succeeded: Five looked at it" in supervisor
    assert "In 59 days [1]." in chat
    assert "In how many days the launch is." in chat
    built = said(building)
    assert built.index("wave:0:shapes.py") < built.index("wave:1:report.py") < built.index("mend:1:report.py")
    assert built.splitlines()[-1].split()[2] == "succeeded"
