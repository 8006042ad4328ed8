"""Checks arguments by a JSON schema that came from outside."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import jsonschema_rs

FAULTS_SHOWN = 10

#: What compiling or using a broken schema raises.
BROKEN = (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, TypeError, ValueError)


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
        except BROKEN as error:
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
