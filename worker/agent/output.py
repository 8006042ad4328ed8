"""Structured output: what a model hands over is checked against the task's JSON schema."""

from collections.abc import Callable
from typing import Any

import jsonschema_rs
from pydantic_ai import StructuredDict
from pydantic_ai.exceptions import ModelRetry

from worker.tools.chain import clean

#: Outputs that do not fit which go back to the model before the run fails.
REPAIRS_MAX = 3
FAULTS_SHOWN = 10


def output_type(schema: dict[str, Any] | None) -> Any:
    """Return pydantic-ai's output type: text, or an object of the schema's shape."""
    return str if schema is None else StructuredDict(schema, name=str(schema.get("title") or "output"))


def checker(schema: dict[str, Any]) -> Callable[[Any], Any]:
    """Return a function that gives back a value that fits the schema, and asks the model to repair any other.

    Patterns are matched in linear time, and references outside the schema are never fetched.
    """
    validator = jsonschema_rs.Draft202012Validator(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())

    def check(given: Any) -> Any:
        value = clean(dict(given))
        faults = [f"{_place(error)}: {error.message[:300]}" for error in validator.iter_errors(value)]
        if faults:
            raise ModelRetry("the output does not fit its schema: " + "; ".join(faults[:FAULTS_SHOWN]))
        return value

    return check


def _place(error: jsonschema_rs.ValidationError) -> str:
    return ".".join(map(str, error.instance_path)) or "output"
