"""The tools a run had: their definitions' hashes, and the words they are described with.

A pattern holds for the tools it was learned with. What counts is what a call needs: a tool's name and the schema of its
arguments. Words about them may change without making a pattern wrong.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from models.repositories.lessons import StepTold
from models.tasks import StepStatus
from worker.tools import CATALOGUE
from worker.tools.spawn_task import PREFIX, DelegateArguments

#: Steps that record what tools of others a run began with.
MCP_STEP, HTTP_STEP, AGENTS_STEP = "tools:mcp", "tools:http", "tools:agents"
_WORD = re.compile(r"[^\W\d_]{3,30}")


@dataclass(frozen=True, slots=True)
class Definition:
    """A tool as a run had it.

    Attributes:
        hash: of its name and the schema of its arguments.
        arguments: names the schema declares; others may be anybody's words.
        words: what its name, its description and its arguments are called by, in small letters.
    """

    hash: str
    arguments: frozenset[str]
    words: frozenset[str]


def definition_hash(name: str, schema: Mapping[str, Any]) -> str:
    """Return 16 hex digits that change when calls of the tool would have to."""
    needed = {key: _bare(schema[key]) for key in ("properties", "required", "$defs") if key in schema}
    return _hash([name, needed])


def toolset_hash(tools: Mapping[str, str]) -> str:
    """Return 16 hex digits for tools, given by name with their definitions' hashes."""
    return _hash(sorted(tools.items()))


def define(name: str, description: str, schema: Mapping[str, Any]) -> Definition:
    """Make the definition of a tool from what the model is told of it."""
    properties = schema.get("properties")
    arguments = frozenset(properties if isinstance(properties, dict) else ())
    said = [name, description, *arguments, *_descriptions(schema)]
    return Definition(definition_hash(name, schema), arguments, frozenset(words(said)))


def words(texts: Iterable[str]) -> list[str]:
    """Return the words of texts in small letters, in order, each once; parts of names count as words."""
    found = (word.casefold() for text in texts for word in _WORD.findall(_apart(text)))
    return list(dict.fromkeys(found))


def _apart(text: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)


def defined(steps: Sequence[StepTold]) -> dict[str, Definition]:
    """Return the tools a run may have had by name: the built-in ones, and those its steps recorded."""
    recorded = {step.key: step.result for step in steps if step.kind == "tools" and step.status == StepStatus.COMPLETED}
    found = dict(_built_in())
    for each in _listed(recorded.get(MCP_STEP), "tools"):
        found[each["name"]] = define(each["name"], each["description"], each["schema"])
    for each in _listed(recorded.get(HTTP_STEP), "tools"):
        definition = each["definition"]
        found[each["name"]] = define(each["name"], definition["description"], definition.get("parameters") or {})
    for each in _listed(recorded.get(AGENTS_STEP), "agents"):
        found[PREFIX + each["name"]] = define(PREFIX + each["name"], each["description"], _delegating())
    return found


def _listed(recorded: Any, name: str) -> list[dict[str, Any]]:
    return recorded[name] if isinstance(recorded, dict) else []


@lru_cache(maxsize=1)
def _built_in() -> dict[str, Definition]:
    told = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return {each["name"]: define(each["name"], each["description"], each["schema"]) for each in told}


@lru_cache(maxsize=1)
def _delegating() -> dict[str, Any]:
    return DelegateArguments.model_json_schema()


def _bare(schema: Any) -> Any:
    """Leave out what is said about a schema. An argument *named* `title` has a schema, not a text, and stays."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    said = {"title", "description"}
    return {key: _bare(value) for key, value in schema.items() if not (key in said and isinstance(value, str))}


def _descriptions(schema: Any) -> Iterator[str]:
    for each in schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ():
        yield from _descriptions(each)
    if isinstance(schema, Mapping) and isinstance(schema.get("description"), str):
        yield schema["description"]


def _hash(value: Any) -> str:
    encoded = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(encoded.encode(errors="replace")).hexdigest()[:16]
