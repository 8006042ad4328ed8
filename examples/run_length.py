"""Texts as runs of equal characters; something to write tests for: `umbel generate-test examples/run_length.py`."""

from itertools import groupby


def encode(text: str) -> list[tuple[str, int]]:
    """Return each run's character and length."""
    return [(character, len(list(run))) for character, run in groupby(text)]


def decode(runs: list[tuple[str, int]]) -> str:
    """Return the text that was encoded."""
    return "".join(character * length for character, length in runs)


def longest(text: str) -> int:
    """Return the length of the longest run."""
    return max(length for _, length in encode(text))
