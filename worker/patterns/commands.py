"""Which commands of a sandbox are checks: a test runner or a linter alone, so that its exit code is its word.

The model chooses what it runs: `true`, `pytest || true`, `echo pytest` and `pytest --version` say nothing.
"""

import re
import shlex
from collections.abc import Sequence

from models.patterns import Verifier

#: What goes before a runner without changing what its exit code says.
_BEFORE = (
    *(("uv", "run"), ("poetry", "run"), ("pipenv", "run"), ("hatch", "run"), ("pdm", "run"), ("bundle", "exec")),
    *(("python", "-m"), ("python3", "-m"), ("pnpm", "exec"), ("npx",), ("time",)),
)
_TESTS = ("pytest", "py.test", "unittest", "tox", "nox", "jest", "vitest", "rspec")
_LINTERS = ("flake8", "pylint", "mypy", "pyright", "eslint", "tsc", "golangci-lint", "shellcheck")
_RUNNERS = dict.fromkeys(_TESTS, Verifier.TESTS) | dict.fromkeys(_LINTERS, Verifier.LINTER)
#: Programs that run tests or a linter by a word of theirs.
_BUILDERS = frozenset({"npm", "yarn", "pnpm", "make", "go", "cargo", "mvn", "gradle", "./gradlew"})
_WORDS = {"test": Verifier.TESTS, "lint": Verifier.LINTER, "vet": Verifier.LINTER, "clippy": Verifier.LINTER}
#: With these a runner checks nothing, or ends with 0 whatever it finds.
_TELLS_NOTHING = re.compile(
    r"(-h|-V|--help|--version|--exit-zero|--collect-only|--co|--fixtures|--dry-run|--just-print|--no-run|--ignore-errors"
    r"|--pass-?with-?no-?tests|--listTests|--if-present|--init|--showConfig)(=.*)?",
    re.IGNORECASE,
)
_SETS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*")
_SHELL = re.compile(r"[;&|`$<>(){}\n\\#]")


def check_of(command: str) -> Verifier | None:
    """Return what kind of check a shell command is; None if its exit code says nothing of the work."""
    if _SHELL.search(command.strip()):
        return None
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    kind, rest = _kind(_without_prefix(words))
    return None if any(_TELLS_NOTHING.fullmatch(word) for word in rest) else kind


def _without_prefix(words: Sequence[str]) -> Sequence[str]:
    while words and _SETS.fullmatch(words[0]):
        words = words[1:]
    for _ in _BEFORE:
        before = next((each for each in _BEFORE if tuple(words[: len(each)]) == each), None)
        if before is None:
            return words
        words = words[len(before) :]
    return words


def _kind(words: Sequence[str]) -> tuple[Verifier | None, Sequence[str]]:
    if not words:
        return None, ()
    program, rest = words[0], words[1:]
    if program == "ruff":  # its other words change files, or only tell something
        return (Verifier.LINTER if rest[:1] == ["check"] else None), rest
    if program == "make" and any(word.startswith("-") for word in rest):
        return None, ()
    if program in _BUILDERS:
        rest = rest[1:] if rest[:1] == ["run"] else rest
        return (_WORDS.get(rest[0]), rest[1:]) if rest else (None, ())
    return _RUNNERS.get(program), rest
