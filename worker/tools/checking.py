"""Checks arguments by a JSON schema that came from outside."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import jsonschema_rs

FAULTS_SHOWN = 10
#: Parts of a schema with its references put in place: checking takes so much, whatever it is checked with.
EXPANDED_MAX = 10_000

#: Ways to lead elsewhere that are not followed when a schema's size is told.
_OTHER_WAYS = ("$id", "$dynamicRef", "$recursiveRef")
#: What compiling a broken schema raises.
SCHEMA_ERRORS = (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, TypeError)


class Checker:
    """Checks arguments by a schema, which is compiled at first need."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema

    @cached_property
    def _validator(self) -> Any:
        return compiled(self._schema)

    def faults(self, args: dict[str, Any]) -> list[str]:
        """Return what is wrong with arguments, field by field; nothing if they fit."""
        try:
            return list(self._faults(args))[:FAULTS_SHOWN]
        except SCHEMA_ERRORS as error:
            return [f"the schema of this tool is broken ({str(error)[:200]})"]

    def _faults(self, args: dict[str, Any]) -> Iterator[str]:
        for error in self._validator.iter_errors(args):
            yield f"{'.'.join(map(str, error.instance_path)) or 'arguments'}: {error.message[:300]}"


def compiled(schema: dict[str, Any]) -> Any:
    """Return a validator: nothing the schema refers to is fetched, and its patterns match in linear time.

    Raises:
        jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, TypeError: it is no usable schema.
    """
    return jsonschema_rs.validator_for(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())


class Expanded:
    """A schema with its references put in place, which is how models are given it: finite, and not too large."""

    def __init__(self, schema: dict[str, Any]) -> None:
        given = schema.get("$defs")
        self._definitions: dict[str, Any] = given if isinstance(given, dict) else {}
        self._body = {key: value for key, value in schema.items() if key not in ("$defs", "$id")}
        self._sizes: dict[str, int] = {}
        self._inside: list[str] = []

    def check(self) -> None:
        """Raise ValueError if references lead elsewhere than to `$defs`, or into themselves, or to too much in all."""
        for name in self._definitions:
            self._definition(name)
        if self._size(self._body) > EXPANDED_MAX:
            raise ValueError(f"the schema has more than {EXPANDED_MAX} parts once its $defs are put in place")

    def _size(self, part: Any) -> int:
        if isinstance(part, list):
            return 1 + sum(map(self._size, part))
        if not isinstance(part, dict):
            return 1
        if other := [key for key in _OTHER_WAYS if isinstance(part.get(key), str)]:
            raise ValueError(f"{other[0]} can't be used: a $ref to one of the schema's own $defs can")
        reference = part.get("$ref")
        referred = self._definition(_name(reference)) if isinstance(reference, str) else 0
        return 1 + referred + sum(map(self._size, part.values()))

    def _definition(self, name: str) -> int:
        if name in self._inside:
            raise ValueError(f"$defs may not refer to themselves ({name[:100]})")
        if name not in self._definitions:
            raise ValueError(f"a $ref must name one of the schema's own $defs; there is no {name[:100]!r}")
        if name not in self._sizes:
            self._inside.append(name)
            self._sizes[name] = self._size(self._definitions[name])
            self._inside.pop()
        return self._sizes[name]


def _name(reference: str) -> str:
    name = reference.removeprefix("#/$defs/")
    if name == reference:
        raise ValueError(f"a $ref must name one of the schema's own $defs, not {reference[:100]!r}")
    return name
