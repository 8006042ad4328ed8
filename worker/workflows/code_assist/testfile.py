"""Which file tests are written for, and where they go."""

import ast
from pathlib import PurePosixPath

from worker.errors import StepFailed
from worker.workflows.code_assist.schemas import CodeAssistInput, SourceFile


def is_test(path: str) -> bool:
    """Say whether pytest would take a file of this name for tests."""
    name = PurePosixPath(path).name
    return name == "conftest.py" or ((name.startswith("test_") or name.endswith("_test.py")) and name.endswith(".py"))


def target(given: CodeAssistInput) -> SourceFile:
    """Return the file to be tested: the cursor's, else the first that is no test itself.

    Raises:
        StepFailed: `nothing_to_test`: it is not Python, or there is none.
    """
    named = [each for each in given.files if given.cursor is not None and each.path == given.cursor.file]
    for each in named or given.files:
        if each.path.endswith(".py") and (named or not is_test(each.path)):
            return each
    raise StepFailed("generate_test works on a Python file; give one, or put the cursor in one", code="nothing_to_test")


def function_at(file: SourceFile, line: int) -> str | None:
    """Return the top-level function or class around a line, if there is one."""
    try:
        body = ast.parse(file.content).body
    except (SyntaxError, ValueError):
        return None
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            start = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if start <= line <= (node.end_lineno or node.lineno):
                return node.name
    return None


def place_for(path: str, given: CodeAssistInput) -> str:
    """Return a new file's path: beside tests there are already, else in `tests/`."""
    paths = {each.path for each in given.files}
    beside = sorted(str(PurePosixPath(each).parent) for each in paths if is_test(each) and "conftest" not in each)
    directory = PurePosixPath(beside[0] if beside else "tests")
    stem = PurePosixPath(path).stem.strip("_")
    stem = stem if stem != "init" else PurePosixPath(path).parent.name or "package"
    names = [f"test_{stem}.py", *(f"test_{stem}_{number}.py" for number in range(2, len(paths) + 3))]
    return next(each for each in (str(directory / name) for name in names) if each not in paths)
