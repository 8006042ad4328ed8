"""Checks arguments that a person changed before they approved them, and answers to questions."""

from typing import Any

import jsonschema_rs

from web.errors import Invalid

FAULTS_MAX = 20


def check_edit(args: dict[str, Any], request: dict[str, Any] | None) -> None:
    """Refuse edited arguments, or an answer, that do not fit the schema of the question.

    Raises:
        Invalid: each fault with the place of the argument.
    """
    schema = (request or {}).get("schema")
    if schema is None:
        return
    validator = jsonschema_rs.validator_for(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())
    faults = [
        {"field": ".".join(["args", *map(str, error.instance_path)]), "message": error.message}
        for error, _ in zip(validator.iter_errors(args), range(FAULTS_MAX), strict=False)
    ]
    if faults:
        raise Invalid("The arguments do not fit; see `errors`.", faults)
