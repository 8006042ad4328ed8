"""The house's rules, checked: which way imports point, what the front loads, who may ask for rows, how long code is."""

import ast
import configparser
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("config", "models", "worker", "tasks", "web", "local", "client", "bench", "chaos")
GENERATED = ROOT / "models/migrations/versions"
MODULE_LINES = 450
FUNCTION_LINES = 60
#: What no front may ever hold: the engine, the code of workflows, and the clients it speaks through.
HEAVY = (
    "worker.engine", "worker.journal", "worker.store", "worker.context", "worker.events", "worker.heartbeat",
    "worker.workflows.agent.run", "worker.workflows.code_assist.run", "worker.workflows.probe.run",
    "worker.agent", "worker.tools.registry", "pydantic_ai", "pint", "jmespath",
    "openai", "anthropic", "mcp", "e2b", "qdrant_client", "neo4j", "aiohttp",
)  # fmt: skip
SCOPES = {"AccountScope", "SystemScope", "AccountScope | SystemScope"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[Path]:
    for room in ROOMS:
        yield from (path for path in sorted((ROOT / room).rglob("*.py")) if GENERATED not in path.parents)


def in_fresh_interpreter(code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "UMBEL_ENVIRONMENT": "development"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_imports_point_one_way() -> None:
    said = in_fresh_interpreter("from importlinter.cli import lint_imports_command; lint_imports_command()")
    assert "0 broken" in said


def test_no_import_is_excused_from_the_rules() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    excused = [name for name in contracts.sections() if contracts.has_option(name, "ignore_imports")]
    assert excused == []


@pytest.mark.parametrize("code", ["import web", "import web; web.create_app()"], ids=["import", "create_app"])
def test_the_front_loads_neither_the_engine_nor_its_clients(code: str) -> None:
    loaded = json.loads(in_fresh_interpreter(f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"))
    assert set(loaded).isdisjoint(HEAVY)


def test_the_catalogue_of_workflows_loads_declarations_only() -> None:
    code = "import json, sys, worker.workflows; print(json.dumps(sorted(sys.modules)))"
    assert set(json.loads(in_fresh_interpreter(code))).isdisjoint({*HEAVY, "celery", "flask"})


def test_a_worker_starts_without_sdks_and_stores_it_may_never_need() -> None:
    code = "import json, sys, tasks.runtime; print(json.dumps(sorted(sys.modules)))"
    late = {"pydantic_ai", "openai", "anthropic", "mcp", "numpy", "tokenizers", "qdrant_client", "neo4j", "hypothesis"}
    assert set(json.loads(in_fresh_interpreter(code))).isdisjoint(late)


@pytest.mark.parametrize("path", sorted((ROOT / "models/repositories").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_rows_are_reached_only_with_a_connection_and_a_scope(path: Path) -> None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, Function) or node.name.startswith("_"):
            continue
        taken = [*node.args.posonlyargs, *node.args.args][:2]
        annotated = [(each.arg, ast.unparse(each.annotation) if each.annotation else "") for each in taken]
        assert annotated[:1] == [("connection", "Connection")], node.name
        assert annotated[1:] and annotated[1][0] == "scope" and annotated[1][1] in SCOPES, node.name
        defaults = len(node.args.defaults)
        assert len(node.args.args) - defaults >= 2, f"{node.name}: a scope has no default"


def test_modules_are_short() -> None:
    long = {str(path.relative_to(ROOT)): lines for path in modules() if (lines := count_lines(path)) > MODULE_LINES}
    assert long == {}


def test_functions_are_short() -> None:
    long = {f"{path.relative_to(ROOT)}:{name}": lines for path in modules() for name, lines in long_functions(path)}
    assert long == {}


def count_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def long_functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield node.name, lines
