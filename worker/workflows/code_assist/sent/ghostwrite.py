"""Has Hypothesis' ghostwriter write tests for a module's functions."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import json
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterable
from typing import Any

#: Told before any other code runs, which may go elsewhere.
HERE = os.getcwd()
ANSWER = f"{HERE}/.umbel-answer"
MESSAGE_MAX = 2000


def ghostwriter() -> Any:
    """Return the ghostwriter. It wants black for one thing, formatting, which ruff does afterwards."""
    black: Any = types.ModuleType("black")
    black.Mode = lambda **_: None
    black.format_str = lambda source, mode: source
    sys.modules["black"] = black
    return importlib.import_module("hypothesis.extra.ghostwriter")


def functions(module: types.ModuleType, only: str | None) -> dict[str, Callable[..., Any]]:
    """Return the functions to be tested: the named one, or the public ones the module itself defines."""
    found = {
        name: each
        for name, each in vars(module).items()
        if inspect.isfunction(each) and each.__module__ == module.__name__ and not inspect.iscoroutinefunction(each)
    }
    if only in found:
        return {only: found[only]}
    return {name: each for name, each in found.items() if not name.startswith("_")}


def written(writer: Any, wanted: dict[str, Callable[..., Any]]) -> Iterable[str]:
    """Write the tests: all together, so that pairs are seen; one by one if that fails."""
    together = attempt(writer, *wanted.values())
    tests = [together] if together else [attempt(writer, each) for each in wanted.values()]
    return filter(None, tests)


def attempt(writer: Any, *wanted: Callable[..., Any]) -> str:
    """Write a module of tests; empty if the ghostwriter can't, which looks at code of any kind."""
    try:
        return str(writer.magic(*wanted))
    except Exception:
        return ""


def playable(source: str) -> str:
    """Return the source without the tests for whose input nothing was found, or nothing that can be written down."""
    lines, tree = source.splitlines(keepends=True), ast.parse(source)
    known = {*dir(builtins), *defined(tree)}
    for node in reversed(tree.body):
        if isinstance(node, ast.FunctionDef) and ("st.nothing()" in ast.unparse(node) or used(node) - known):
            start = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            del lines[start - 1 : node.end_lineno]
    return "".join(line for line in lines if not line.startswith("# TODO: replace st.nothing()"))


def defined(tree: ast.Module) -> Iterable[str]:
    """Return the names a module imports and assigns."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((each.asname or each.name).partition(".")[0] for each in node.names)
        elif isinstance(node, ast.Assign):
            yield from (each.id for each in node.targets if isinstance(each, ast.Name))


def used(function: ast.FunctionDef) -> set[str]:
    """Return the names by which a test's input is described."""
    nodes = (node for decorator in function.decorator_list for node in ast.walk(decorator))
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Return `sources`, `tested` and `left_out`, or what is in the way as `problem` and `message`."""
    try:
        writer = ghostwriter()
    except ImportError as error:
        return {"problem": "hypothesis", "message": str(error)}
    sys.path[:0] = asked["roots"]
    try:
        module = importlib.import_module(asked["module"])
    except BaseException:  # code of any kind, which may also try to end this process
        return {"problem": "import", "message": traceback.format_exc(limit=-3)[-MESSAGE_MAX:]}
    if not str(module.__file__).startswith(HERE):
        return {"problem": "import", "message": f"{asked['module']} is the name of a module of Python itself"}
    wanted = functions(module, asked["only"])
    sources = [playable(source) for source in written(writer, wanted)] if wanted else []
    tests = [source for source in sources if "def test_" in source]
    called = {node.attr for source in tests for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    return {"sources": tests, "tested": sorted(called & {*wanted}), "left_out": sorted({*wanted} - called)}


def main(asked: dict[str, Any]) -> None:
    """Write the tests, and the answer."""
    found = answer(asked)
    with open(ANSWER, "w", encoding="utf-8") as file:
        json.dump(found, file)


main(json.load(sys.stdin))
