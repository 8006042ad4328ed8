"""ask_human: a question only a person can answer. The run waits without a slot until somebody does."""

import json
from typing import Any

import jsonschema_rs
from pydantic import Field, field_validator

from models.tasks import Effect
from worker.tools.base import Arguments, Refused, Tool, ToolCall

SCHEMA_MAX = 10_000
#: What an answer is unless the question brings a schema.
TEXT = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 1, "maxLength": 20_000}},
    "required": ["text"],
    "additionalProperties": False,
}


class AskArguments(Arguments):
    """The question, and the shape of its answer."""

    question: str = Field(min_length=1, max_length=4000, description="All the person needs to know to answer.")
    answer_schema: dict[str, Any] | None = Field(
        None, description="JSON schema of an object to be filled in, without $ref; by default the answer is text."
    )

    @field_validator("answer_schema")
    @classmethod
    def _usable(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is None:
            return None
        encoded = json.dumps(schema)
        if schema.get("type") != "object" or len(encoded) > SCHEMA_MAX or '$ref"' in encoded or 'Ref"' in encoded:
            raise ValueError(f"must be a schema of an object, up to {SCHEMA_MAX} characters, without references")
        try:
            jsonschema_rs.Draft202012Validator(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, TypeError) as error:
            raise ValueError(f"not a usable JSON schema: {str(error).splitlines()[0][:300]}") from None
        return schema


async def run(args: AskArguments, call: ToolCall) -> Any:
    """Refuse: only a run can wait, so the agent loop asks itself and never carries this out as a call."""
    raise Refused("a person can be asked by an agent's run only")


ASK_HUMAN = Tool(
    name="ask_human",
    description="Asks a person and waits for the answer, which can take long. For what only a person knows or decides.",
    arguments=AskArguments,
    effect=Effect.PURE,
    run=run,
)
