"""Schemas of an OpenAPI document as JSON schemas that stand alone: what they refer to is put into `$defs`."""

import re
from collections.abc import Iterable
from typing import Any

from web.openapi.document import Document, Unusable
from worker.tools.checking import SCHEMA_ERRORS, compiled

#: Schemas an operation may consist of, all it refers to included.
PARTS_MAX = 2000

_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SINGLE = frozenset(
    {"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
#: What a schema says to people and generators, or what only holds where it stood.
_DROPPED = frozenset(
    {"example", "examples", "xml", "discriminator", "externalDocs", "deprecated", "readOnly", "writeOnly", "nullable"}
    | {"$id", "$schema", "$anchor", "$dynamicAnchor", "$comment", "$vocabulary"}
)


class Schemas:
    """The schemas of one operation."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        self._inside: list[str] = []
        self._left = PARTS_MAX
        self.definitions: dict[str, Any] = {}

    def alone(self, schema: Any) -> Any:
        """Return a schema whose references lead to `definitions`, where they are put.

        Raises:
            Unusable: a reference leads out of the document or nowhere, or it is all too much.
        """
        self._left -= 1
        if self._left < 0:
            raise Unusable(f"its schemas have more than {PARTS_MAX} parts")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise Unusable("a schema is expected where there is something else")
        found: dict[str, Any] = {}
        if isinstance(schema.get("$ref"), str):
            if schema["$ref"] not in self._inside:  # what leads into itself is anything there: the other side checks it
                found["$ref"] = f"#/$defs/{self._defined(schema['$ref'])}"
            if self._document.is_30:  # what stands beside a reference does not count there
                return found
        for key, value in schema.items():
            if key not in _DROPPED and key != "$ref" and not key.startswith("x-"):
                found |= self._member(key, value, schema)
        return self._nullable(found) if schema.get("nullable") is True and self._document.is_30 else found

    def _member(self, key: str, value: Any, schema: dict[str, Any]) -> dict[str, Any]:
        if key in _MAPS and isinstance(value, dict):
            return {key: {name: self.alone(item) for name, item in value.items() if not self._is_given(item)}}
        if key in _LISTS and isinstance(value, list):
            return {key: [self.alone(item) for item in value]}
        if key in _SINGLE and isinstance(value, dict | bool):
            return {key: self.alone(value)}
        if key == "required" and isinstance(value, list):
            properties = schema.get("properties")
            known = properties if isinstance(properties, dict) else {}
            return {key: [name for name in value if not self._is_given(known.get(name))]}
        if key == "pattern":
            return {key: value} if _matches_in_linear_time(value) else {}
        if key in ("exclusiveMinimum", "exclusiveMaximum") and isinstance(value, bool):
            bound = schema.get(key.replace("exclusiveM", "m"))
            return {key: bound} if value and bound is not None else {}
        return {key: value}

    def _is_given(self, schema: Any) -> bool:
        """Whether the other side sets it, and nobody sends it."""
        return isinstance(schema, dict) and schema.get("readOnly") is True

    def _defined(self, reference: str) -> str:
        if reference not in self._names:
            wanted = re.sub(r"[^A-Za-z0-9_.-]", "_", reference.rpartition("/")[2]) or "part"
            name = _free(wanted, self._names.values())
            self._names[reference] = name
            self._inside.append(reference)
            self.definitions[name] = self.alone(self._document.at(reference))
            self._inside.pop()
        return self._names[reference]

    @staticmethod
    def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
        kind = schema.get("type")
        if isinstance(kind, str) and "enum" not in schema:
            return schema | {"type": [kind, "null"]}
        return {"anyOf": [schema, {"type": "null"}]}


def _free(wanted: str, taken: Iterable[str]) -> str:
    used, name, number = set(taken), wanted, 2
    while name in used:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _matches_in_linear_time(pattern: Any) -> bool:
    try:
        compiled({"pattern": pattern})
    except SCHEMA_ERRORS:
        return False  # the other side checks it anyway
    return True
