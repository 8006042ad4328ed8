"""Patterns: are the right tools found again? A stream of requests, each learned from after it was answered.

Every request is answered with a short-list of three tools, taken from the patterns that are retrieved for it, and then
learned from; some of what is learned is wrong, as where a run was taken for a success and was none. What is measured is
retrieval alone: the share of the right tools among the three. No model is asked.

The choosing, the filter by toolset and the credit are the product's own; so are the embedders.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from bench.pattern_streams import Turn, bfcl, generated
from bench.report import Report
from worker.patterns.choosing import FOUND_MAX, GIVEN_MAX, Found, diverse
from worker.patterns.credit import Trial, Verdict, followed, verdict
from worker.patterns.embedders.lexical import vector
from worker.patterns.retrieval import AHEAD, Question, applicable

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from bench.__main__ import Plan

Vectors = Any
Embed = Callable[[Sequence[str]], Vectors]

SHORT = 3
#: The first third of a stream is learned from only.
WARM = 1 / 3
POISON = (0.0, 0.2, 0.4)
HELD_OUT = 0.1
#: How often an agent without patterns finds the tools by itself.
SKILL = 0.5
WAYS = ("none", "frequency", "recent", "vector", "vector+graph", "vector+graph+credit")


@dataclass
class Bank:
    """Patterns learned so far, their vectors, and what each was tried on; the same tools again are the same pattern."""

    dimension: int
    patterns: list[Found] = field(default_factory=list)
    trials: list[list[Trial]] = field(default_factory=list)
    quarantined: set[int] = field(default_factory=set)
    used: Counter[str] = field(default_factory=Counter)
    _vectors: Vectors = None
    _owner: list[int] = field(default_factory=list)
    _index: dict[tuple[str, ...], int] = field(default_factory=dict)

    def learn(self, turn: Turn, tools: tuple[str, ...], asked: Vectors) -> None:
        """Keep a run that was taken for a success: evidence of the pattern with these tools, or a new one."""
        place = self._index.setdefault(tools, len(self.patterns))
        if place == len(self.patterns):
            self.patterns.append(Found(UUID(int=place + 1), 1, "workflow", turn.text, "", tools, (), 0.0))
            self.trials.append([])
        self.patterns[place] = self.patterns[place]._replace(runs=self.patterns[place].runs + 1)
        if self._vectors is None:
            self._vectors = np.zeros((64, self.dimension), dtype=np.float32)
        if len(self._owner) == len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
        self._vectors[len(self._owner)] = asked
        self._owner.append(place)
        self.used.update(tools)

    def nearest(self, asked: Vectors, most: int) -> list[Found]:
        """Return the patterns some run of which was most alike, as a store of vectors would."""
        if not self._owner:
            return []
        likeness = self._vectors[: len(self._owner)] @ asked
        best = np.full(len(self.patterns), -1.0, dtype=np.float32)
        np.maximum.at(best, np.array(self._owner), likeness)
        best[list(self.quarantined)] = -1.0
        order = np.argsort(-best, kind="stable")[:most]
        return [self.patterns[n]._replace(similarity=float(best[n])) for n in order if best[n] > -1.0]


def given(way: str, bank: Bank, turn: Turn, asked: Vectors) -> list[Found]:
    """Return the patterns a way of retrieval gives for a request."""
    if way == "vector":
        return diverse(bank.nearest(asked, FOUND_MAX), GIVEN_MAX)
    found = bank.nearest(asked, FOUND_MAX * AHEAD)
    return diverse(applicable(found, Question(turn.text, turn.toolset))[:FOUND_MAX], GIVEN_MAX)


def short_list(patterns: Sequence[Found]) -> list[str]:
    """Return the three tools that the patterns given speak for most."""
    votes: defaultdict[str, float] = defaultdict(float)
    for each in patterns:
        for tool in each.tools:
            votes[tool] += max(each.similarity, 0.01)
    return sorted(votes, key=lambda tool: -votes[tool])[:SHORT]


def guessed(way: str, bank: Bank, lately: Sequence[Turn], chance: random.Random, known: Sequence[str]) -> list[str]:
    """Return the short-list of a way that retrieves nothing."""
    if way == "frequency":
        return [tool for tool, _ in bank.used.most_common(SHORT)]
    if way == "recent":
        return list(dict.fromkeys(tool for turn in reversed(lately[-SHORT:]) for tool in turn.tools))[:SHORT]
    return chance.sample(known, SHORT)


def experiment(way: str, turns: Sequence[Turn], vectors: Vectors, poison: float, seed: int) -> dict[str, float]:
    """Play a stream and return `recall` over its last two thirds, and how many patterns were judged.

    Args:
        way: one of `WAYS`.
        turns: the stream.
        vectors: of each turn's text, of length one.
        poison: share of what is learned that has other tools of the same toolset.
        seed: of all chance.
    """
    # What is learned is the same in every way: only then can they be compared.
    chance, lots, bank, right = random.Random(seed), random.Random(~seed), Bank(vectors.shape[1]), list[float]()
    known = sorted({tool for turn in turns for tool in turn.tools})
    for place, turn in enumerate(turns):
        if way.startswith("vector"):
            patterns = given(way, bank, turn, vectors[place])
            listed = short_list(patterns)
            if way.endswith("credit"):
                _judge(bank, turn, patterns, listed, lots)
        else:
            listed = guessed(way, bank, turns[:place], lots, known)
        if place >= len(turns) * WARM:
            wanted = set(turn.tools)
            right.append(len(wanted & set(listed)) / min(len(wanted), SHORT))
        bank.learn(turn, _learned(turn, poison, chance), vectors[place])
    return {"recall": sum(right) / len(right), "quarantined": len(bank.quarantined), "patterns": len(bank.patterns)}


def _learned(turn: Turn, poison: float, chance: random.Random) -> tuple[str, ...]:
    wrong = sorted(turn.toolset - set(turn.tools))
    if chance.random() >= poison or len(wrong) < len(turn.tools):
        return turn.tools
    return tuple(chance.sample(wrong, len(turn.tools)))


def _judge(bank: Bank, turn: Turn, patterns: Sequence[Found], listed: Sequence[str], chance: random.Random) -> None:
    """Let the run end as its tools deserve, and credit what it was given by the product's own rule."""
    held_out = chance.random() < HELD_OUT
    success = chance.random() < SKILL if held_out else set(turn.tools) <= set(listed)
    for each in patterns:
        place = each.id.int - 1
        did = None if held_out else followed(each.tools, listed)
        bank.trials[place].append(Trial(each.similarity, did, success))
        if did and verdict(bank.trials[place]) is Verdict.QUARANTINE:
            bank.quarantined.add(place)


def measured(report: Report, name: str, turns: Sequence[Turn], embed: Embed, seeds: Sequence[int]) -> None:
    """Play a stream in every way, with every share of false successes."""
    vectors = embed([turn.text for turn in turns])
    for poison in POISON:
        for seed in seeds:
            for way in WAYS:
                told = experiment(way, turns, vectors, poison, seed)
                report.add(f"{name}, {poison:.0%} false, {way}", told)


def judge(report: Report, name: str) -> None:
    """Hold a stream's recall against the goals."""
    for poison in POISON:
        told = {way: report.median(f"{name}, {poison:.0%} false, {way}", "recall") for way in WAYS}
        better = told["vector+graph"] - told["vector"]
        report.goal(f"{name}, {poison:.0%} false: vector+graph above vector", better, ">=", 0.0)
        credit = told["vector+graph+credit"] - told["vector+graph"]
        report.goal(f"{name}, {poison:.0%} false: credit beside none", credit, ">=", -0.02)


def run(plan: Plan) -> Report:
    """Play the streams; a smoke test plays a short generated one only."""
    report = Report("patterns", "the share of the right tools among three, from patterns retrieved")
    report.notes.append("a share of what is learned is false: a run that was taken for a success with other tools")
    streams = {"generated": generated(plan.size(600, 150), 1, kinds=plan.size(40, 6))}
    if plan.scale == 1.0:
        streams["BFCL v4 multi-turn"] = bfcl()
    for name, turns in streams.items():
        plan.say(
            f"patterns: {name}, {len(turns)} requests, {len({tool for turn in turns for tool in turn.tools})} tools"
        )
        measured(report, name, turns, by_words, range(plan.rounds))
        judge(report, name)
    return report


def by_words(texts: Sequence[str]) -> Vectors:
    """Embed texts by their words: what every installation has."""
    return np.array([vector(text) for text in texts], dtype=np.float32)
