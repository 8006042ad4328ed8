"""From arithmetic as people write it (`5 km + 300 m`, `2^10`, `3 (4 + 5)`) to an expression with every operator.

A product written without its sign after a division (`100 km / 2 hour`, `1/2 m`) means different things to different
people; it is refused rather than guessed.
"""

import re
from collections.abc import Iterator

_PIECE = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[^\W\d]\w*)|(?P<sign>\*\*|//|[-+*/%(),]))"
)
_SPELLINGS = {
    "^": "**", "×": "*", "·": "*", "÷": "/", "−": "-", "²": "**2", "³": "**3",
    "°C": " degC", "°F": " degF", "°": " degree", "µ": "μ",
}  # fmt: skip
_DIVISIONS = frozenset({"/", "//", "%"})
_SIGNS = frozenset({"**", "*", "+", "-", "(", ",", *_DIVISIONS})


class Unreadable(ValueError):
    """This is not an arithmetic expression, or one with two meanings."""


def explicit(text: str, functions: frozenset[str]) -> str:
    """Return the expression with every product and power spelled as Python does.

    Args:
        text: what was written.
        functions: names that take arguments in brackets; other names are factors.

    Raises:
        Unreadable: a character that means nothing here, or a division followed by a product without a sign.
    """
    for spelling, meaning in _SPELLINGS.items():
        text = text.replace(spelling, meaning)
    written: list[str] = []
    opened: list[int] = []
    for kind, piece in _pieces(text):
        if _ends_factor(written, functions) and (kind in ("number", "name") or piece == "("):
            if _divides(written):
                raise Unreadable("a division before a product without * has two meanings; write it with brackets")
            if piece == "in" and written[-1][-1].isalpha():  # `5 km in miles`; otherwise it is the inch
                raise Unreadable("the unit of the answer goes into `to`")
            piece = "inch" if piece == "in" else piece
            written.append("*")
        if piece == "(":
            opened.append(len(written))
        # A bracket is one factor from here on.
        if piece == ")" and opened:
            start = opened.pop()
            called = start > 0 and written[start - 1] in functions
            start -= called
            written[start:] = ["".join(written[start:]) + ")"]
        else:
            written.append(piece)
    return " ".join(written)


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(text.rstrip()):
        found = _PIECE.match(text, place)
        if found is None:
            raise Unreadable(f"{text[place:].strip()[:1]!r} means nothing here")
        place = found.end()
        kind = str(found.lastgroup)
        piece = found[kind]
        yield ("sign", "/") if piece == "per" else (kind, piece)


def _ends_factor(written: list[str], functions: frozenset[str]) -> bool:
    return bool(written) and written[-1] not in functions and (written[-1][-1].isalnum() or written[-1][-1] in ")._")


def _divides(written: list[str]) -> bool:
    """Whether the last factor, with its powers, is a divisor."""
    place = len(written) - 1
    while place > 0:
        sign = written[place - 1]
        if sign in ("+", "-") and (place == 1 or written[place - 2] in _SIGNS):
            place -= 1  # it belongs to the factor
        elif sign == "**":
            place -= 2
        else:
            return sign in _DIVISIONS
    return False
