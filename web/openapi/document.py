"""Reads an OpenAPI document: JSON or YAML, bounded in size, with references that stay inside it."""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import yaml

TEXT_MAX = 1_000_000
#: Values in a document, each alias of YAML counted as what it stands for.
NODES_MAX = 200_000
DEPTH_MAX = 100
HOPS_MAX = 20

_VERSION = re.compile(r"3\.([01])\.\d+(?:-.+)?")
_PLAIN_TAGS = ("null", "bool", "int", "float", "str")


class Unusable(ValueError):
    """The document, or a part of it, can't be used; the message says why."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as JSON: `no` and dates are text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("null", "int", "float")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")


@dataclass(frozen=True, slots=True)
class Document:
    """An OpenAPI document.

    Attributes:
        root: all of it, as plain JSON values.
        is_30: whether its schemas are those of version 3.0; else they are JSON schemas of draft 2020-12.
    """

    root: dict[str, Any]
    is_30: bool

    @classmethod
    def read(cls, given: str | dict[str, Any]) -> "Document":
        """Read a document.

        Raises:
            Unusable: it is no OpenAPI document of version 3.0 or 3.1, or too large.
        """
        root = _Plain().copy(_parsed(given) if isinstance(given, str) else given)
        if not isinstance(root, dict):
            raise Unusable("this is no OpenAPI document: an object is expected")
        if "swagger" in root:
            raise Unusable("this is Swagger 2.0; convert it to OpenAPI 3 first")
        version = _VERSION.fullmatch(str(root.get("openapi", "")))
        if not version:
            raise Unusable("`openapi` must be 3.0.x or 3.1.x")
        if not isinstance(root.get("paths"), dict):
            raise Unusable("the document has no `paths`")
        return cls(root, version[1] == "0")

    @property
    def title(self) -> str:
        """What the document calls itself."""
        info = self.root.get("info")
        return str(info.get("title", "") if isinstance(info, dict) else "")[:200]

    def resolved(self, part: Any) -> dict[str, Any]:
        """Return an object, or the one it refers to.

        Raises:
            Unusable: it is none, or its reference leads out of the document or nowhere.
        """
        for _ in range(HOPS_MAX):
            if not isinstance(part, dict):
                raise Unusable("an object is expected where there is something else")
            if not isinstance(part.get("$ref"), str):
                return part
            part = self.at(part["$ref"])
        raise Unusable("references lead in a circle")

    def at(self, reference: str) -> Any:
        """Return what a reference leads to. Raises Unusable as `resolved` does."""
        if not reference.startswith("#/"):
            raise Unusable(f"only references inside the document are followed, not {reference[:100]!r}")
        found: Any = self.root
        for token in reference[2:].split("/"):
            name = unquote(token).replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, dict) and name in found:
                found = found[name]
            else:
                raise Unusable(f"the reference {reference[:100]!r} leads nowhere")
        return found


def _parsed(text: str) -> Any:
    if len(text) > TEXT_MAX:
        raise Unusable(f"the document is longer than {TEXT_MAX} characters")
    try:
        return json.loads(text) if text.lstrip()[:1] == "{" else yaml.load(text, _Loader)  # noqa: S506  # a safe loader
    except json.JSONDecodeError as error:
        raise Unusable(f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except yaml.YAMLError as error:
        raise Unusable(f"not YAML: {' '.join(str(error).split())[:300]}") from None
    except (RecursionError, ValueError):
        raise Unusable("the document is nested too deeply, or has a number that is none") from None


class _Plain:
    """Copies values as JSON has them, and counts them."""

    def __init__(self) -> None:
        self._left = NODES_MAX

    def copy(self, value: Any, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > DEPTH_MAX:
            raise Unusable(f"the document has more than {NODES_MAX} values, or is nested more than {DEPTH_MAX} deep")
        if isinstance(value, dict):
            return {_key(name): self.copy(item, depth + 1) for name, item in value.items()}
        if isinstance(value, list):
            return [self.copy(item, depth + 1) for item in value]
        if value is None or isinstance(value, str | bool | int | float):
            return value
        raise Unusable(f"{type(value).__name__} is not JSON")


def _key(name: Any) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, bool | int | float) or name is None:
        return json.dumps(name)
    raise Unusable("a key of the document is no text")
