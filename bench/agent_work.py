"""What each agent of `agent` is to do: four answers of the model, the first three with a call of the calculator."""

from __future__ import annotations

import json

#: Answers of the model in a run, each streamed word by word, and runs in flight at once.
STEPS = 4
IN_FLIGHT = 50
WORDS = "some words the model says while it works and that are streamed one by one to whoever watches it " * 2


def prompt(number: int) -> str:
    """Return what an agent is asked; the model at the provider reads its answers from it."""
    calls = [
        [{"say": WORDS.strip()}, {"tool": "calculator", "args": {"expression": f"{number} + {step}"}}]
        for step in range(1, STEPS)
    ]
    return json.dumps({"task": f"bench-{number}", "answers": [*calls, f"{WORDS}in the end: {{told}}"]})


def right(text: str) -> None:
    """Check an answer.

    Raises:
        ValueError: it is not what the tools' results make it.
    """
    if text.count('"value"') != STEPS - 1:
        raise ValueError(f"the agent's answer is wrong: {text[:200]}")
