"""A model explains code; the lines it names are checked."""

import json
from pathlib import Path

import pytest

from config.settings import Settings
from tests.agent.test_coding import lose_after
from tests.code_assist.conftest import Assist, Lab, Says
from worker import llm
from worker.crash import Point
from worker.engine import Ended
from worker.llm.hub import Gateway
from worker.testing import running_engine
from worker.workflows import WORKFLOWS
from worker.workflows.code_assist import explanations
from worker.workflows.code_assist.schemas import CodeAssistInput

CODE = "import util\n\n\ndef total(net):\n    return util.rounded(net)\n"
UTIL = "def rounded(x):\n    return round(x, 2)\n"
GOOD = "It adds up.\n\n## Lines 1-1: Imports\nTakes util.\n\n## Lines 4-5: The sum\nRounds it.\n"


@pytest.mark.stack
async def test_a_file_is_explained_by_lines_and_the_model_sees_what_it_imports(
    assist: Assist, says: Says, lab: Lab
) -> None:
    model = says(GOOD)
    task = await assist("explain", {"main.py": CODE, "util.py": UTIL}, prompt="Why round?")
    assert task.status == "succeeded", task.error
    result = task.result
    assert result["explanation"] == "It adds up."
    assert [(each["start"], each["end"], each["title"]) for each in result["explained"]["sections"]] == [
        (1, 1, "Imports"),
        (4, 5, "The sum"),
    ]
    assert (result["files_modified"], result["synthetic"], result["explained"]["left_out"]) == ([], False, [])
    (question,) = model.told()
    assert "Explain lines 1-5 of main.py" in question
    assert "Why round?" in question
    assert question.index("=== main.py") < question.index("=== util.py")
    assert {"model.started", "model.completed"} <= set(lab.types(task))


@pytest.mark.stack
async def test_lines_that_do_not_exist_are_asked_for_again_and_then_left_out(assist: Assist, says: Says) -> None:
    bad = "It adds up.\n\n## Lines 1-99: All\nText.\n"
    model = says(bad, GOOD)
    task = await assist("explain", {"main.py": CODE}, selection={"file": "main.py", "start": 1, "end": 5})
    assert len(task.result["explained"]["sections"]) == 2
    assert "there are lines 1 to 5 only" in model.told()[0]
    says(bad, bad)
    task = await assist("explain", {"main.py": CODE})
    (section,) = task.result["explained"]["sections"]
    assert (section["start"], section["end"], section["title"]) == (None, None, "All")


@pytest.mark.stack
async def test_a_lost_worker_costs_no_second_question(
    says: Says, lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = says("No sections.", GOOD)
    given = {"mode": "explain", "files": [{"path": "main.py", "content": CODE}]}
    task = lab.submit("code_assist", given)
    async with running_engine(quick, WORKFLOWS, heartbeat=False) as lost:
        lose_after(lab, monkeypatch, task, Point.AFTER_RESULT, 1)
        assert await lost.execute(task.run_id) is Ended.LOST
    async with running_engine(quick, WORKFLOWS) as engine:
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    assert model.steps_asked == [1, 2]
    assert lab.dense(task)


@pytest.mark.stack
async def test_without_a_model_it_is_refused_and_a_script_is_said_to_be_one(
    assist: Assist, quick: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task = await assist("explain", {"main.py": CODE})
    assert (task.status, task.error["code"]) == ("failed", "no_model_configured")
    scenario = tmp_path / "scenario.json"
    scenario.write_text(json.dumps([{"when": {"contains": "Explain lines"}, "say": GOOD}]))
    monkeypatch.setattr(llm, "_gateway", Gateway(quick.model_copy(update={"offline_scenario": str(scenario)})))
    played = await assist("explain", {"main.py": CODE}, model="offline:demo")
    assert (played.status, played.result["synthetic"]) == ("succeeded", True)


@pytest.mark.parametrize(
    ("answer", "faults"),
    [
        ("", ["it does not begin with a summary", "it has no sections"]),
        ("S\n## Lines 3\nx\n## line 2 to 4: T\ny", []),
        ("S\n## Overview\nx", ["`## Overview` names no lines"]),
        ("S\n## Lines 4-3: T\nx\n## Lines 0-1: U\ny", ["`## Lines 4-3: T`", "`## Lines 0-1: U`"]),
        ("S\n## Lines 2-" + "9" * 5000 + ": T\nx", ["names no lines"]),
    ],
)
def test_an_explanation_is_read_strictly(answer: str, faults: list[str]) -> None:
    found = explanations.read(answer, 1, 5)
    assert len(found.faults) == len(faults)
    assert all(want in fault for want, fault in zip(faults, found.faults, strict=True))


@pytest.mark.parametrize("selection", [("x.py", 1, 1), ("main.py", 3, 2), ("main.py", 1, 6), ("main.py", 0, 1)])
def test_a_selection_of_lines_that_do_not_exist_is_refused(selection: tuple[str, int, int]) -> None:
    chosen = dict(zip(("file", "start", "end"), selection, strict=True))
    given = {"mode": "explain", "files": [{"path": "main.py", "content": CODE}], "selection": chosen}
    with pytest.raises(ValueError, match="selection"):
        CodeAssistInput.model_validate(given)
