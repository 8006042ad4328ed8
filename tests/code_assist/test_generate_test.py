"""Tests are written, played in a sandbox, and told of as they ended."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import Settings
from tests.code_assist.conftest import Assist, Says
from worker import sandboxes
from worker.errors import StepFailed
from worker.workflows.code_assist import asked_tests, pythonic, testfile
from worker.workflows.code_assist.playing import play
from worker.workflows.code_assist.schemas import CodeAssistInput, Played
from worker.workflows.code_assist.writing import fault

SHIFTS = """
def up(number: int) -> int:
    return number + 1


def down(number: int) -> int:
    return number - 1


def share(number: int) -> float:
    return 1 / number


def odd(x):
    return x % 2


def most(totals, limit: int | None = None):
    return sorted(totals.items())[:limit]
"""


@pytest.mark.stack
async def test_without_a_model_hypothesis_writes_tests_and_what_fails_is_told(assist: Assist, tmp_path: Path) -> None:
    task = await assist("generate_test", {"src/shop/shifts.py": SHIFTS})
    assert task.status == "succeeded", task.error
    tests = task.result["tests"]
    assert (tests["path"], tests["writer"], tests["left_out"]) == (
        "tests/test_shifts.py",
        "hypothesis",
        ["most", "odd"],
    )
    assert "import shop.shifts" in tests["content"]
    (failed,) = (each for each in tests["cases"] if each["outcome"] == "failed")
    assert "ZeroDivisionError" in failed["message"]
    assert tests["failed"] == 1
    assert tests["passed"] == len(tests["cases"]) - 1 > 0
    assert "1 failed" in task.result["explanation"]
    (patch,) = task.result["files_modified"]
    if shutil.which("git") is None:
        pytest.skip("this machine lacks git")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch["patch"].encode(), check=True)
    assert (tmp_path / tests["path"]).read_text() == tests["content"]


GOOD = "Here:\n\n```python\nfrom shifts import up\ndef test_up():\n    assert up(1) == 2\n```\n"


@pytest.mark.stack
async def test_a_models_tests_are_repaired_until_they_can_be_collected(assist: Assist, says: Says) -> None:
    model = says("```python\nfrom shifts import sideways\n```", GOOD)
    given = {"cursor": {"file": "shifts.py", "line": 3}, "model": "scripted"}
    task = await assist("generate_test", {"shifts.py": SHIFTS}, **given)
    assert task.status == "succeeded", task.error
    tests = task.result["tests"]
    assert (tests["writer"], tests["rounds"], tests["passed"], tests["failed"]) == ("scripted", 2, 1, 0)
    assert tests["content"] == "from shifts import up\n\n\ndef test_up():\n    assert up(1) == 2\n"
    assert "cannot import name 'sideways'" in model.asked[1][-1].parts[0].content  # type: ignore[operator]
    assert "`up` of shifts.py" in model.asked[0][-1].parts[0].content  # type: ignore[operator]
    assert task.result["usage"]["output_tokens"] > 0


@pytest.mark.stack
async def test_tests_that_stay_broken_or_cannot_be_played_are_said_to_be(
    assist: Assist, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_tests, "REPAIRS_MAX", 0)
    says("def test(:")
    task = await assist("generate_test", {"shifts.py": SHIFTS}, model="scripted")
    tests = task.result["tests"]
    assert ([each["outcome"] for each in tests["cases"]], tests["rounds"]) == (["broken"], 1)
    assert "could not be collected" in task.result["explanation"]
    says(GOOD)
    task = await assist("generate_test", {"shifts.py": "import left_pad\n" + SHIFTS}, model="scripted")
    tests = task.result["tests"]
    assert (tests["cases"], tests["rounds"]) == ([], 0)
    assert "No module named 'left_pad'" in task.result["explanation"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [("x = 1", "x = 1\n"), ("```py\nx = 1\n```", "x = 1\n"), ("a\n```\nx\n```\nb\n```python\nlonger\n```", "longer\n")],
)
def test_code_is_taken_out_of_an_answer(answer: str, code: str) -> None:
    assert asked_tests.code_in(answer) == code


@pytest.mark.stack
@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        ({"a.py": "import left_pad\n"}, "code_not_importable", "No module named 'left_pad'"),
        ({"a.py": "ODD = 1\n"}, "tests_not_written", "annotate them, or set UMBEL_MODEL"),
        ({"a-b.py": "def odd(x: int):\n    return x % 2\n"}, "name_not_importable", "a-b.py"),
        ({"a.ts": "let x"}, "nothing_to_test", "Python"),
    ],
)
async def test_what_cannot_be_tested_is_refused_with_the_cure(
    assist: Assist, files: dict[str, str], code: str, said: str
) -> None:
    task = await assist("generate_test", files)
    assert (task.status, task.error["code"]) == ("failed", code)
    assert said in task.error["message"]


@pytest.mark.stack
async def test_without_hypothesis_or_a_sandbox_the_cure_is_told(
    assist: Assist, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {name: place for name, place in pythonic._packages().items() if not name.endswith("/hypothesis")}
    monkeypatch.setattr(pythonic, "_packages", lambda: there)
    task = await assist("generate_test", {"a.py": "def one() -> int:\n    return 1\n"})
    assert (task.status, task.error["code"]) == ("failed", "tool_missing")
    assert "the same Python version" in task.error["message"]
    monkeypatch.setattr(sandboxes, "get_settings", lambda: quick.model_copy(update={"sandbox": "none"}))
    task = await assist("generate_test", {"a.py": SHIFTS})
    assert (task.status, task.error["code"]) == ("failed", "sandbox_unavailable")


async def test_every_way_a_test_can_end_is_told_apart() -> None:
    files = {
        "tests/test_a.py": """
import os, pytest
from helpers import seven
def test_good(): print("x" * 3_000_000); assert seven() == 7
def test_bad(): assert seven() == 8
@pytest.mark.skip
def test_later(): pass
@pytest.fixture
def broken(): raise OSError("no disk")
def test_around(broken): pass
""",
        "helpers.py": "def seven(): return 7\n",
        "tests/test_b.py": "def test(:\n",
        "pytest.ini": "[pytest]\naddopts = --no-such-option\n",
    }
    try:
        played = await play(files, ["tests/test_a.py", "tests/test_b.py"])
        cut = await play({"test_c.py": "import os\ndef test_a(): pass\ndef test_b(): os._exit(3)\n"}, ["test_c.py"])
    finally:
        await sandboxes.close()
    outcomes = {each.name.rpartition(":")[2]: each.outcome for each in played.cases}
    assert outcomes == {
        "test_good": "passed", "test_bad": "failed", "test_later": "skipped", "test_around": "error",
        "tests/test_b.py": "broken",
    }  # fmt: skip
    assert played.stopped is None
    assert ([each.outcome for each in cut.cases], cut.stopped) == (["passed"], "it ended with 3")


def test_an_answer_without_a_test_goes_back_too() -> None:
    assert fault(Played(cases=[])) == "there is no test in it"
    assert fault(Played(cases=[], stopped="it met a limit")) is None


def test_clients_of_models_are_not_loaded_before_one_is_asked() -> None:
    modes = "import worker.workflows.code_assist.modes"
    check = f"{modes}.lint_fix, {modes[7:]}.generate_test, sys; sys.exit('pydantic_ai' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def given(*paths: str, **more: object) -> CodeAssistInput:
    files = [{"path": path, "content": "@x\ndef f():\n    pass\n\nclass C: pass\n"} for path in paths]
    return CodeAssistInput.model_validate({"mode": "generate_test", "files": files, **more})


def test_the_cursors_file_is_tested_else_the_first_that_is_no_test() -> None:
    paths = ("conftest.py", "tests/test_b.py", "README.md", "a.py", "b.py")
    assert testfile.target(given(*paths)).path == "a.py"
    assert testfile.target(given(*paths, cursor={"file": "b.py", "line": 1})).path == "b.py"
    with pytest.raises(StepFailed, match="Python file"):
        testfile.target(given(*paths, cursor={"file": "README.md", "line": 1}))


def test_the_cursor_chooses_a_function_of_the_file() -> None:
    (file,) = given("a.py").files
    assert [testfile.function_at(file, line) for line in range(1, 6)] == ["f", "f", "f", None, "C"]


@pytest.mark.parametrize(
    ("path", "others", "place", "module"),
    [
        ("src/a/b.py", (), "tests/test_b.py", "a.b"),
        ("a/b.py", ("conftest.py", "unit/test_x.py"), "unit/test_b.py", "a.b"),
        ("b.py", ("tests/test_b.py", "tests/test_b_2.py"), "tests/test_b_3.py", "b"),
        ("a/__init__.py", (), "tests/test_a.py", "a"),
    ],
)
def test_a_new_file_goes_beside_other_tests_and_takes_no_others_name(
    path: str, others: tuple[str, ...], place: str, module: str
) -> None:
    assert testfile.place_for(path, given(path, *others)) == place
    assert pythonic.module_of(path) == module
