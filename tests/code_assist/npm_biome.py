"""Biome from npm on JavaScript and TypeScript, in a real sandbox. `make test-linters` installs and plays it.

Not part of the suite: it needs npm. `LINTERS` names the folder with its program.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import get_settings
from worker import sandboxes
from worker.workflows.code_assist import biome, linters

MESSY = "var y = 1\ndebugger;\nlet z = 3;\nif (y == null) { console.log(z) }\n"
FORMATTED = "var y = 1;\ndebugger;\nconst z = 3;\nif (y == null) {\n  console.log(z);\n}\n"


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("UMBEL_BIOME", str(Path(os.environ["LINTERS"]) / "biome"))
    get_settings.cache_clear()
    biome._program.cache_clear()
    yield
    get_settings.cache_clear()
    biome._program.cache_clear()


async def test_findings_fixes_and_formats_of_javascript_and_typescript() -> None:
    files = {"src/a b.ts": MESSY, "build/w.js": MESSY.replace("\n", "\r\n"), "bad.jsx": "function f( {\n", "x.md": "#x"}
    try:
        found = await linters.lint(files)
        fixed = files | await linters.fix(files)
        formatted = await linters.format_files(fixed)
    finally:
        await sandboxes.close()
    (debugger,) = (each for each in found if each["code"] == "noDebugger" and each["path"] == "src/a b.ts")
    assert (debugger["line"], debugger["col"]) == (2, 1)
    assert debugger["url"] == "https://biomejs.dev/linter/rules/no-debugger"
    assert {"invalid-syntax"} <= {each["code"] for each in found if each["path"] == "bad.jsx"}
    assert "const z" in fixed["src/a b.ts"]
    assert formatted == {"src/a b.ts": FORMATTED, "build/w.js": FORMATTED.replace("\n", "\r\n")}


async def test_python_beside_it_goes_to_ruff() -> None:
    files = {"a.js": "debugger;\n", "b.py": "import os\n"}
    assert await linters.taken(files) == files
    try:
        assert [each["code"] for each in await linters.lint(files)] == ["F401", "noDebugger"]
    finally:
        await sandboxes.close()
