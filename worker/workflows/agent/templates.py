"""Definitions to begin with: put one under a name of your own and change it."""

from typing import Any

TEMPLATES: tuple[dict[str, Any], ...] = (
    {
        "name": "assistant",
        "description": "Answers questions; calculates and handles dates with tools instead of guessing.",
        "definition": {
            "instructions": "Answer briefly. Calculate with the calculator and handle dates with datetime, "
            "never in your head. Say so when you do not know.",
            "tools": ["calculator", "datetime"],
        },
    },
    {
        "name": "extractor",
        "description": "Reads facts out of a text into fields; change the schema to what you need.",
        "definition": {
            "instructions": "Extract what the schema asks for from the text. Use only what the text says; "
            "leave out what it does not say.",
            "output_schema": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "date": {"type": "string", "description": "ISO 8601"},
                    "amounts": {"type": "array", "items": {"type": "number"}},
                },
            },
            "temperature": 0,
        },
    },
    {
        "name": "api-caller",
        "description": "Works with HTTP APIs; a person approves every call that could change something.",
        "definition": {
            "instructions": "Use http_request to read and, where asked to, to change things. Look before you change. "
            "Report what you did, with the addresses.",
            "tools": ["datetime", "http_request", "json_transform"],
            "approve": ["unsafe"],
        },
    },
)
