"""Whether a file's text can be parsed, for the languages this house has a parser of."""

import ast
import json
import tomllib
import warnings
from collections.abc import Callable
from pathlib import PurePosixPath

import yaml

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MESSAGE_MAX = 300


def fault(path: str, text: str) -> str | None:
    """Return what keeps a text from being parsed, with its line; None if it parses, or nobody here can say."""
    parse = _parser(path)
    if parse is None:
        return None
    try:
        parse(text)
    except (SyntaxError, ValueError, yaml.YAMLError) as error:
        return " ".join(str(error).split())[:MESSAGE_MAX] or type(error).__name__
    except (RecursionError, MemoryError):
        return "it is nested too deeply"
    return None


def is_known(path: str) -> bool:
    """Whether there is a parser for a file of this name."""
    return _parser(path) is not None


def _python(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes and the like: no faults
        ast.parse(text.removeprefix("\ufeff"))


def _json(text: str) -> None:
    json.loads(text.removeprefix("\ufeff"))


def _yaml(text: str) -> None:
    # Events only: nothing is constructed, so neither tags nor aliases do anything.
    for _ in yaml.parse(text, Loader=_YAML):
        pass


_PARSERS: dict[str, Callable[[str], object]] = {
    ".py": _python,
    ".pyi": _python,
    ".json": _json,
    ".toml": tomllib.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def _parser(path: str) -> Callable[[str], object] | None:
    return _PARSERS.get(PurePosixPath(path).suffix)
