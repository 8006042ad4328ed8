"""What a model is shown of many files: never more than fits, always where the cursor is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.workflows.code_assist.context import BYTES, Selected, select_context
from worker.workflows.code_assist.definitions import definitions, imported
from worker.workflows.code_assist.schemas import Cursor

NAMES = ("a.py", "src/pkg/b.py", "src/pkg/__init__.py", "web/c.ts", "notes.md")
LINE = st.one_of(
    st.sampled_from(["def alpha():", "    return beta", "import pkg.b", "class Beta:", "function gamma() {", "}", ""]),
    st.text(max_size=30).map(lambda text: text.replace("\n", "").replace("\r", "")),
    st.integers(50, 500).map(lambda size: "é" * size),
)
FILES = st.dictionaries(st.sampled_from(NAMES), st.lists(LINE, max_size=40).map("\n".join), min_size=1)


def shown_lines(selected: Selected, path: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for piece in selected.pieces:
        if piece.path == path:
            head, *lines = piece.text.split("\n")
            assert head.startswith(f"=== {path} (")
            for number, line in enumerate(lines, piece.start):
                assert number not in found, "a line is shown twice"
                found[number] = line
    return found


@settings(max_examples=50, deadline=None)
@given(FILES, st.integers(1, 2000), st.data())
def test_it_is_never_over_budget_and_what_is_shown_is_what_the_files_say(
    files: dict[str, str], budget: int, data: st.DataObject
) -> None:
    cursor = Cursor(file=data.draw(st.sampled_from(sorted(files))), line=data.draw(st.integers(1, 50)))
    selected = select_context(files, cursor, budget)
    assert len(selected.text.encode()) <= budget * BYTES
    assert selected.tokens <= budget
    left_out = {each.path: each.lines for each in selected.left_out}
    for path, text in files.items():
        lines = text.removesuffix("\n").split("\n")
        shown = shown_lines(selected, path)
        assert len(shown) + left_out.get(path, 0) == len(lines) or any("…" in line for line in shown.values())
        for number, line in shown.items():
            assert line == f"{number:>5}| {lines[number - 1]}" or "…" in line


@settings(max_examples=50, deadline=None)
@given(FILES, st.integers(60, 2000), st.data())
def test_the_cursors_line_is_always_shown(files: dict[str, str], budget: int, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(files)))
    lines = files[path].removesuffix("\n").split("\n")
    line = data.draw(st.integers(1, len(lines)))
    shown = shown_lines(select_context(files, Cursor(file=path, line=line), budget), path)
    assert line in shown
    nearest = max(len(shown), 1)
    assert set(shown) <= set(range(line - nearest, line + nearest + 1)), "what is near goes first"


def test_imports_and_named_definitions_go_before_files_that_have_nothing_to_do_with_it() -> None:
    files = {
        "other.py": "x = 1\n" * 60,
        "users.py": "from main import total\n" + "y = 2\n" * 5,
        "prices.py": "def vat(net):\n    return net * 0.2\n\n\n" + "z = 3\n" * 400,
        "util/__init__.py": "def rounded(x):\n    return round(x, 2)\n",
        "main.py": "import util\n\ndef total(net):\n    return util.rounded(net + vat(net))\n",
    }
    selected = select_context(files, Cursor(file="main.py", line=4), 250)
    assert [piece.path for piece in selected.pieces] == ["main.py", "util/__init__.py", "prices.py", "users.py"]
    (prices,) = (piece for piece in selected.pieces if piece.path == "prices.py")
    assert (prices.start, prices.end) == (1, 2)
    assert {each.path: each.lines for each in selected.left_out} == {"other.py": 60, "prices.py": 402}


def test_a_line_longer_than_the_budget_is_shown_around_the_cursor() -> None:
    text = "a" * 5000 + "HERE" + "b" * 5000
    selected = select_context({"min.js": text}, Cursor(file="min.js", line=1, col=5002), 100)
    assert "HERE" in selected.text
    assert selected.tokens <= 100


def test_definitions_of_python_come_from_its_parser_and_of_others_from_names() -> None:
    python = "@x\ndef f():\n    pass\n\nclass C:\n    def g(self):\n        '''def no(): '''\n\nLIMIT: int = 3\n"
    assert definitions("a.py", python) == {"f": (1, 3), "C": (5, 7), "g": (6, 7), "LIMIT": (9, 9)}
    script = "export async function load() {\n  return 1\n}\nconst x = 2\nclass Y {\n  go() {}\n}\n"
    assert definitions("a.ts", script) == {"load": (1, 3), "x": (4, 4), "Y": (5, 7)}
    assert definitions("broken.py", "def f(:\n  pass\n") == {"f": (1, 2)}


def test_imports_are_found_among_the_files() -> None:
    paths = ["src/pkg/a.py", "src/pkg/b.py", "src/pkg/sub/__init__.py", "web/c.ts", "web/lib/index.ts", "top.py"]
    python = "from . import b\nfrom .sub import thing\nimport top, os\n"
    assert imported("src/pkg/a.py", python, paths) == {"src/pkg/b.py", "src/pkg/sub/__init__.py", "top.py"}
    assert imported("web/d.ts", 'import x from "./c";\nconst y = require("./lib")', paths) == {
        "web/c.ts",
        "web/lib/index.ts",
    }
