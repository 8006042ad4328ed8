"""Mode patch: a model's edits are made to the letter, verified, and offered as diffs that others' tools take."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config.settings import Settings
from tests.agent.conftest import Script, script
from tests.code_assist.conftest import Assist
from tests.engine.conftest import Lab
from worker import llm, sandboxes
from worker.llm.hub import Gateway
from worker.sandboxes.errors import SandboxUnavailable
from worker.testing import running_engine
from worker.workflows import WORKFLOWS
from worker.workflows.code_assist import asking, making, verifying
from worker.workflows.code_assist.schemas import CodeAssistInput

pytestmark = pytest.mark.stack

EXAMPLE = Path(__file__).parents[2] / "examples" / "code_assist"
SHOP = "def price(net):\n    return net * 1.19\n\n\ndef total(nets):\n    return sum(price(net) for net in nets)\n"
TEST = "from shop import total\n\n\ndef test_total():\n    assert total([100, 100]) == 214\n"
FILES = {"shop.py": SHOP, "test_shop.py": TEST, "shop.json": '{"name": "shop"}\n'}


def block(search: str, new: str, path: str = "shop.py") -> str:
    return f"{path}\n<<<<<<< SEARCH\n{search}\n=======\n{new}\n>>>>>>> REPLACE\n"


LOWER = f"The rate is 7 %.\n\n{block('    return net * 1.19', '    return net * 1.07')}"
WRONG = block("    return net * 1.18", "    return net * 1.07")
BROKEN = block("def price(net):", "def price(net:")
LOOSE = block("def price(net):", "import os\n\n\ndef price(net):")


@pytest.fixture
def patch(assist: Assist, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Have the mode carried out with a scripted model."""

    async def patch(model: Script, files: dict[str, str] = FILES, **given: Any) -> Any:
        monkeypatch.setattr(llm, "gateway", lambda: model)
        return await assist("patch", files, prompt="Lower the rate.", **given)

    return patch


def applied(root: Path, files: dict[str, str], result: dict[str, Any]) -> dict[str, str]:
    for path, text in files.items():
        (root / path).write_bytes(text.encode())
    whole = "".join(each["patch"] for each in result["files_modified"])
    subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], cwd=root, input=whole.encode(), check=True)
    return {str(path.relative_to(root)): path.read_bytes().decode() for path in root.rglob("*") if path.is_file()}


async def test_edits_are_offered_as_diffs_with_what_was_verified(patch: Any, lab: Lab, tmp_path: Path) -> None:
    model = script(LOWER)
    task = await patch(model, tests=["test_shop.py"], cursor={"file": "shop.py", "line": 2})
    assert task.status == "succeeded", task.error
    lowered = SHOP.replace("1.19", "1.07")
    assert applied(tmp_path, FILES, task.result) == FILES | {"shop.py": lowered}
    assert (task.result["type"], task.result["explanation"], task.result["diagnostics"]) == (
        "patch",
        "The rate is 7 %.",
        [],
    )
    report = task.result["report"]
    assert report["verified"] == [{"path": "shop.py", "parses": "yes", "lint": "no_worse", "notes": []}]
    assert [case["outcome"] for case in report["tests"]["cases"]] == ["passed"]
    assert (report["rounds"], report["refused"], report["unchecked"], report["left_out"]) == (1, [], [], [])
    (asked,) = model.told()
    assert asked.index("shop.py") < asked.index("test_shop.py") < asked.index("The request: Lower the rate.")
    assert "line 2, column 1: '    return net * 1.19'" in asked


async def test_what_is_wrong_goes_back_to_the_model_until_it_is_right(patch: Any) -> None:
    model = script(WRONG + BROKEN, BROKEN, LOWER)
    task = await patch(model)
    assert task.status == "succeeded", task.error
    assert (task.result["report"]["rounds"], task.result["report"]["refused"]) == (3, [])
    (first,) = model.told(1)
    assert "shop.py: block 1 is not found: at line 2, '    return net * 1.18\\n' was expected" in first
    assert SHOP in first
    (second,) = model.told(2)
    assert "shop.py would not parse any more" in second


async def test_what_lints_worse_goes_back_and_is_offered_with_a_warning_if_it_stays(patch: Any) -> None:
    model = script(LOWER + LOOSE, "It is needed.", "It is needed.")
    task = await patch(model)
    assert task.status == "succeeded", task.error
    assert "F401" in model.told(1)[0]
    assert "Made already, and not to be sent again: shop.py" in model.told(1)[0]
    assert task.result["report"]["verified"][0]["lint"] == "worse"
    assert {each["code"] for each in task.result["diagnostics"]} == {"F401"}


async def test_tests_that_fail_are_told_to_the_model_and_in_the_result(patch: Any) -> None:
    wrong = block("    return net * 1.19", "    return net * 1.09")
    task = await patch(script(wrong, "I can't.", "I can't."), tests=["test_shop.py"])
    assert task.status == "succeeded", task.error
    (case,) = task.result["report"]["tests"]["cases"]
    assert case["outcome"] == "failed"
    assert task.result["report"]["refused"][-1]["code"] == "test_failed"


async def test_nothing_is_offered_of_edits_that_never_fit(patch: Any) -> None:
    task = await patch(script(WRONG, WRONG, WRONG))
    assert (task.status, task.error["code"]) == ("failed", "edits_refused")
    assert task.error["refused"][0]["reason"] == "not_found"
    assert "in 3 answers" in task.error["message"]


async def test_a_model_may_say_that_nothing_needs_changing(patch: Any) -> None:
    model = script("It is right as it is.", "It is right as it is.")
    task = await patch(model)
    assert task.status == "succeeded", task.error
    assert (task.result["files_modified"], task.result["report"]["rounds"]) == ([], 2)
    assert "It is right" in task.result["explanation"]
    assert making.NO_EDIT in model.told(1)[0]


async def test_files_appear_go_and_move(patch: Any, tmp_path: Path) -> None:
    move = "```diff\ndiff --git a/shop.json b/data/shop.json\nrename from shop.json\nrename to data/shop.json\n```\n"
    gone = "".join(f"-{line}\n" for line in TEST.splitlines())
    gone = f"```diff\n--- a/test_shop.py\n+++ /dev/null\n@@ -1,5 +0,0 @@\n{gone}```\n"
    new = "new.toml\n```toml\na = 1\n```\n"
    task = await patch(script(f"Three things.\n\n{move}\n{gone}\n{new}"))
    assert task.status == "succeeded", task.error
    left = applied(tmp_path, FILES, task.result)
    assert left == {"shop.py": SHOP, "data/shop.json": FILES["shop.json"], "new.toml": "a = 1\n"}


async def test_without_a_sandbox_edits_are_offered_and_said_to_be_unverified(
    patch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> Any:
        raise SandboxUnavailable("no sandbox works on this worker")

    monkeypatch.setattr(sandboxes, "house", none)
    task = await patch(script(LOWER), tests=["test_shop.py"])
    assert task.status == "succeeded", task.error
    assert task.result["report"]["verified"][0] == {
        "path": "shop.py",
        "parses": "yes",
        "lint": "unchecked",
        "notes": [],
    }
    assert len(task.result["report"]["unchecked"]) == 2


async def test_without_a_model_the_task_says_what_to_configure(assist: Assist) -> None:
    task = await assist("patch", FILES, prompt="Lower the rate.")
    assert (task.status, task.error["code"]) == ("failed", "no_model_configured")


def test_a_patch_needs_a_request_and_tests_that_are_given() -> None:
    given = {"mode": "patch", "files": [{"path": "a.py", "content": ""}]}
    for more in ({}, {"prompt": "  "}, {"prompt": "x", "tests": ["b.py"]}):
        with pytest.raises(ValidationError):
            CodeAssistInput.model_validate(given | more)


def test_what_does_not_fit_half_of_the_window_is_named_but_not_shown() -> None:
    files = [{"path": f"{name}.py", "content": f"{name} = 1\n" * 100} for name in "abc"]
    given = CodeAssistInput.model_validate(
        {"mode": "patch", "prompt": "x", "files": files, "cursor": {"file": "c.py", "line": 1}}
    )
    context = asking.chosen(given, 1400)
    asked = asking.question(given, context)
    assert asked.startswith("c.py\n```\nc = 1\n")
    assert {each.path for each in context.left_out} == {"a.py", "b.py"}
    assert "no room: a.py (100 lines), b.py (100 lines)" in asked


@pytest.mark.parametrize(
    ("path", "text", "parses"),
    [
        ("a.json", "{", "no"),
        ("a.toml", "a = ", "no"),
        ("a.yaml", "a: [", "no"),
        ("a.yaml", "a: &x !tag 1\nb: *x\n", "yes"),
        ("a.py", "x = '\\d'\n", "yes"),
        ("a.py", "(" * 5000, "no"),
        ("a.txt", "(", "unchecked"),
    ],
)
def test_files_are_parsed_by_their_kind(path: str, text: str, parses: str) -> None:
    assert verifying.verdict(path, None, text, {}, ()).parses == parses
    made = making.made(asking.told(path, f"{text}\n") + "\n", {})
    assert bool(made["refused"]) == (parses == "no")


def test_a_file_that_did_not_parse_before_may_stay_so() -> None:
    made = making.made(block("x = (", "y = (", "a.py"), {"a.py": "x = (\n"})
    assert (made["refused"], made["changes"][0]["after"]) == ([], "y = (\n")
    assert verifying.verdict("a.py", "x = (\n", "y = (\n", {}, ()).parses == "broken_before"


async def test_a_script_plays_the_model_and_the_result_says_so(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline = quick.model_copy(update={"model": "offline:demo", "offline_scenario": str(EXAMPLE / "scenario.json")})
    hub = Gateway(offline)
    monkeypatch.setattr(llm, "_gateway", hub)
    async with running_engine(offline, WORKFLOWS) as engine:
        task = lab.submit("code_assist", json.loads((EXAMPLE / "patch.json").read_text(encoding="utf-8")))
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert ended.status == "succeeded", ended.error
    assert ended.result["synthetic"] is True
    assert "+    return net * 1.07" in ended.result["files_modified"][0]["patch"]
    assert list(lab.steps(task)) == ["patch:1", "edits:1", "lint:1", "tests:1", "diff"]
