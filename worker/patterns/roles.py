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

#: Characters of an answer, and of what the task was given, that are looked through; longer values are not looked for.
LOOKED_AT = 8_000
GIVEN_MAX = 64_000
#: Answers that are looked through for a value.
EARLIER_MAX = 10
#: Values inside one argument that are looked for.
LEAVES_MAX = 20
_SPACE = re.compile(r"\s+")


Answers = Sequence[tuple[str, str]]


def answers_of(calls: Sequence[Call]) -> list[tuple[str, str]]:
    """Return what each call was answered, as `flat` makes it, by tool; nothing where it did not go well."""
    return [(each.tool, flat(each.answer, LOOKED_AT) if each.ended is Ended.OK else "") for each in calls]


def arguments_of(call: Call, given: str, before: Answers, definition: Definition) -> dict[str, str]:
    """Return the role of each declared argument.

    Args:
        call: the call.
        given: what the task was given, as `flat` makes it.
        before: the answers before it; the newest are looked through.
        definition: of its tool; arguments it does not declare are left out, for their names may be anybody's words.
    """
    earlier = before[: -EARLIER_MAX - 1 : -1]
    declared = {name: value for name, value in call.arguments.items() if name in definition.arguments}
    return {name: _role(value, given, earlier) for name, value in sorted(declared.items())}


def flat(value: Any, most: int = GIVEN_MAX) -> str:
    """Return a value's texts and numbers as one text in small letters, one to a line, cut to so many characters."""
    lines, length = [], 0
    for leaf in _leaves(value):
        lines.append(_normal(leaf)[: most - length])
        length += len(lines[-1])
        if length >= most:
            break
    return "\n".join(lines)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


def _normal(value: Any) -> str:
    text = value[:GIVEN_MAX] if isinstance(value, str) else json.dumps(value, default=str)
    return _SPACE.sub(" ", text).strip().casefold()


def _role(value: Any, given: str, earlier: Answers) -> str:
    roles = {_of_leaf(leaf, given, earlier) for leaf in _leaves(value)[:LEAVES_MAX]}
    if len(roles) > 1:
        roles.discard(CONSTANT)
    return roles.pop() if len(roles) == 1 else COMPOSED if roles else CONSTANT


def _of_leaf(leaf: Any, given: str, earlier: Answers) -> str:
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
    if text not in where:
        return False
    before, after = (r"(?<!\w)" if text[0].isalnum() else ""), (r"(?!\w)" if text[-1].isalnum() else "")
    return re.search(before + re.escape(text) + after, where) is not None
