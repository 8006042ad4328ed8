"""What linters can't mend is given to a model, and taken back only where linters then find less."""

import pytest

from tests.code_assist.conftest import Assist, Says

pytestmark = pytest.mark.stack

CODE = "def first(x=[]):\n    unused = 1\n    return x\n"
BROKEN = "def second(:\n    pass\n"


def block(path: str, old: str, new: str) -> str:
    return f"{path}\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


async def test_a_model_mends_what_is_left_and_is_told_what_was_not_taken(assist: Assist, says: Says) -> None:
    good = block("a.py", "def first(x=[]):\n    unused = 1", "def first(x=()):")
    worse = block("b.py", "def second(:\n    pass", "def second(:\n    pas")
    mended = block("b.py", "def second(:", "def second():")
    model = says(good + worse + block("c.py", "x", "y"), mended)
    task = await assist("lint_fix", {"a.py": CODE, "b.py": BROKEN}, model="scripted")
    assert task.status == "succeeded", task.error
    patches = {each["path"]: each["patch"] for each in task.result["files_modified"]}
    assert "+def first(x=()):" in patches["a.py"]
    assert "+def second():" in patches["b.py"]
    assert task.result["diagnostics"] == []
    assert "by the model" in task.result["explanation"]
    assert task.result["model"] == "scripted"
    told = model.asked[1][-1].parts[0].content
    assert isinstance(told, str)
    assert "c.py: there is no such file" in told
    assert "b.py: linters would find as much as before" in told
    assert "a.py" not in told


async def test_a_change_that_linters_find_worse_is_not_taken(assist: Assist, says: Says) -> None:
    worse = block("a.py", "    unused = 1", "    unused = missing")
    says(worse, "no blocks")
    task = await assist("lint_fix", {"a.py": CODE}, model="scripted")
    assert "missing" not in "".join(each["patch"] for each in task.result["files_modified"])
    assert {"F841", "B006"} <= {each["code"] for each in task.result["diagnostics"]}


async def test_no_model_is_asked_unless_the_task_names_one(assist: Assist, says: Says) -> None:
    model = says("never asked")
    task = await assist("lint_fix", {"a.py": CODE})
    assert (task.status, model.asked, task.result["model"]) == ("succeeded", [], None)
