"""What the graph says for a pattern besides its likeness: the request's words it solved before, and who else does so.

A run taken for a success by mistake leaves a pattern that is as like a request as any. What it can't leave is company:
patterns like the same request that use the same tools. Nor do the concepts of other requests lead to it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from uuid import UUID

from worker.patterns.choosing import Found
from worker.patterns.definitions import words
from worker.patterns.graph.asking import Fit

#: What it adds to a likeness that a pattern solved the most of what a request speaks of, and that all others agree.
#: More for agreement finds more where requests are mixed, and less where tools that are often used are the wrong ones.
SPOKEN, AGREED = 0.3, 0.1
#: The nearer a pattern, the more its tools count: by this power of its likeness.
SHARPNESS = 4

Pairs = Sequence[tuple[Found, Fit]]


def supported(pairs: Pairs, text: str) -> list[Found]:
    """Return patterns with what the graph adds to their likeness, from 0 to `SPOKEN + AGREED`.

    Args:
        pairs: patterns that apply to one request, each with what the graph says of it.
        text: the request.
    """
    spoken = _spoken(pairs, text)
    told = [(each._replace(support=SPOKEN * spoken[each.id]), fit) for each, fit in pairs]
    agreed = _agreed(told)
    return [each._replace(support=each.support + AGREED * agreed[each.id]) for each, _ in told]


def _spoken(pairs: Pairs, text: str) -> dict[UUID, float]:
    """Return for each pattern how much of the request it solved, to the most that one did; rare words say more."""
    said = set(words([text]))
    solved = {each.id: said & fit.about for each, fit in pairs}
    counts = Counter(word for found in solved.values() for word in found)
    weights = {word: 1 / math.log2(1 + count) for word, count in counts.items()}
    sums = {id: sum(weights[word] for word in found) for id, found in solved.items()}
    most = max(sums.values(), default=0.0) or 1.0
    return {id: each / most for id, each in sums.items()}


def _agreed(pairs: Pairs) -> dict[UUID, float]:
    """Return for each pattern the share of the others that use its tools, weighed by how near they are."""
    weights = {each.id: max(each.nearness, 0.01) ** SHARPNESS for each, _ in pairs}
    tools = {each.id: fit.uses or frozenset(each.tools) for each, fit in pairs}
    users: defaultdict[str, float] = defaultdict(float)
    for id, used in tools.items():
        for tool in used:
            users[tool] += weights[id]
    total = sum(weights.values())
    return {id: _share(used, users, weights[id], total) for id, used in tools.items()}


def _share(used: Set[str], users: Mapping[str, float], own: float, total: float) -> float:
    others = total - own
    return sum(users[tool] - own for tool in used) / others / len(used) if used and others > 0 else 0.0
