"""Where an argument's value came from. The role is kept, the value never is."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from worker.patterns.definitions import Definition
from worker.patterns.trace import Call, Ended

INPUT = "input"  # it stands in what the task was given
RESULT = "result:"  # and a tool's name: in what that tool answered
CONSTANT = "constant"  # a number or a switch that stands in neither
COMPOSED = "composed"  # the model wrote it

#: Characters of an answer, and of a value, that are compared.
LOOKED_AT = 16_000
_SPACE = re.compile(r"\s+")


def arguments_of(call: Call, given: str, before: Sequence[Call], definition: Definition) -> dict[str, str]:
    """Return the role of each declared argument.

    Args:
        call: the call.
        given: what the task was given, as `flat` makes it.
        before: the calls before it.
        definition: of its tool; arguments it does not declare are left out, for their names may be anybody's words.
    """
    earlier = [(each.tool, flat(each.answer)) for each in reversed(before) if each.ended is Ended.OK]
    declared = {name: value for name, value in call.arguments.items() if name in definition.arguments}
    return {name: _role(value, given, earlier) for name, value in sorted(declared.items())}


def flat(value: Any) -> str:
    """Return a value's texts and numbers as one text in small letters, each between two line ends."""
    return "\n" + "\n".join(_normal(each) for each in _leaves(value))[:LOOKED_AT] + "\n"


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


def _normal(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return _SPACE.sub(" ", text).strip().casefold()


def _role(value: Any, given: str, earlier: Sequence[tuple[str, str]]) -> str:
    roles = {_of_leaf(leaf, given, earlier) for leaf in _leaves(value)}
    if len(roles) > 1:
        roles.discard(CONSTANT)
    return roles.pop() if len(roles) == 1 else COMPOSED if roles else CONSTANT


def _of_leaf(leaf: Any, given: str, earlier: Sequence[tuple[str, str]]) -> str:
    plain = leaf is None or isinstance(leaf, bool)
    text = _normal(leaf)
    if not plain and text and len(text) <= LOOKED_AT:
        if _stands_in(text, given):
            return INPUT
        for tool, answer in earlier:
            if _stands_in(text, answer):
                return RESULT + tool
    return COMPOSED if isinstance(leaf, str) and text else CONSTANT


def _stands_in(text: str, where: str) -> bool:
    """Whether a text stands somewhere as whole words: `5` is not in `15`."""
    at = where.find(text)
    while at >= 0:
        left, right = where[at - 1 : at], where[at + len(text) : at + len(text) + 1]
        if not (_joined(left, text[0]) or _joined(text[-1], right)):
            return True
        at = where.find(text, at + 1)
    return False


def _joined(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum()
