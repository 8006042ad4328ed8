"""What a file defines and imports: by Python's own parser for Python, by names for other languages."""

import ast
import posixpath
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

_NAME = re.compile(r"[^\W\d]\w{2,}")
_DEFINED = re.compile(
    r"^(?P<indent>[ \t]*)(?:(?:export|default|public|private|protected|static|abstract|async|pub)\s+)*"
    r"(?:function\*?|class|interface|type|enum|const|let|var|def|fn|func|struct|trait|impl|object)\s+(?P<name>[^\W\d]\w*)"
)
_QUOTED = re.compile(r"""(?:from|import|require\(|include)\s*["'<]([^"'>\n]{1,300})["'>]""")
#: A definition in a language without a parser here is taken to be at most this long.
LINES_MAX = 60
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Span(NamedTuple):
    """Lines from 1, both included."""

    start: int
    end: int


def names(text: str) -> frozenset[str]:
    """Return the names in a text, those of one or two letters left out."""
    return frozenset(_NAME.findall(text))


def definitions(path: str, text: str) -> dict[str, Span]:
    """Return where functions, classes and the like are defined, by name; of several of a name the first."""
    tree = _parsed(path, text)
    found = _by_indent(text) if tree is None else _in_python(tree.body)
    defined: dict[str, Span] = {}
    for name, span in found:
        defined.setdefault(name, span)
    return defined


def imported(path: str, text: str, paths: Collection[str]) -> frozenset[str]:
    """Return which of the files a file imports."""
    tree = _parsed(path, text)
    wanted = frozenset(_quoted(path, text) if tree is None else _dotted(path, tree))
    return frozenset(each for each in paths if each != path and _importable_as(each) & wanted)


def _parsed(path: str, text: str) -> ast.Module | None:
    if not path.endswith((".py", ".pyi")):
        return None
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _in_python(body: list[ast.stmt]) -> Iterator[tuple[str, Span]]:
    for node in body:
        if isinstance(node, _Definition):
            start = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            yield node.name, Span(start, node.end_lineno or node.lineno)
        if isinstance(node, ast.ClassDef):
            yield from _in_python(node.body)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            span = Span(node.lineno, node.end_lineno or node.lineno)
            yield from ((each.id, span) for each in targets if isinstance(each, ast.Name))


def _by_indent(text: str) -> Iterator[tuple[str, Span]]:
    """Definitions by the words they begin with, each as long as what follows is indented more, and one line."""
    lines = text.removesuffix("\n").split("\n")
    for index, line in enumerate(lines):
        if found := _DEFINED.match(line):
            yield found["name"], Span(index + 1, _end(lines, index, len(found["indent"])))


def _end(lines: list[str], begin: int, indent: int) -> int:
    last = min(len(lines), begin + LINES_MAX)
    for index in range(begin + 1, last):
        line = lines[index]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            return index + 1 if line.strip()[0] in ")}]" else index
    return last


def _dotted(path: str, tree: ast.Module) -> Iterator[str]:
    """Names of modules, and of what is imported from them, for it may be a module, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        if isinstance(node, ast.ImportFrom):
            base = _absolute(path, node)
            yield base
            yield from (f"{base}.{each.name}".lstrip(".") for each in node.names)


def _absolute(path: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = _without_root(path).split("/")[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def _quoted(path: str, text: str) -> Iterator[str]:
    for name in _QUOTED.findall(text):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) if name[0] == "." else name


def _importable_as(path: str) -> frozenset[str]:
    """Names a file may be imported by: its path, that without its ending, and as a module of Python."""
    stem = posixpath.splitext(path)[0]
    package = stem.removesuffix("/__init__").removesuffix("/index")
    return frozenset((path, stem, package, _without_root(package).replace("/", ".")))


def _without_root(path: str) -> str:
    return path.removeprefix("src/")
