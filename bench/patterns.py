"""Patterns: are the right tools found again? A stream of requests, each learned from after it was answered.

Every request is answered with a short-list of three tools, taken from the patterns that are retrieved for it, and then
learned from; some of what is learned is wrong, as where a run was taken for a success and was none. What is measured is
retrieval alone: the share of the right tools among the three. No model is asked.

Runs are rows of the record; learning, admission, search, graph, choice and credit are the product's own, and so are the
embedders.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from pydantic import SecretStr

from bench.pattern_runs import WAYS, Remembered, Stage, wrong
from bench.pattern_streams import Stream, Turn, bfcl, generated
from bench.report import Report
from config.settings import Settings
from local.rig import open_rig
from models.database import Database, connect
from worker.patterns.choosing import Found
from worker.patterns.embedders.base import Embedder
from worker.patterns.embedders.lexical import LexicalEmbedder
from worker.patterns.embedders.minilm import MiniLmEmbedder
from worker.patterns.embedders.opening import installed

if TYPE_CHECKING:
    from bench.__main__ import Plan

SHORT = 3
#: The first third of a stream is learned from only.
WARM = 1 / 3
POISON = (0.0, 0.2, 0.4)
HELD_OUT = 0.1
#: How often an agent without patterns finds the tools by itself.
SKILL = 0.5
BLIND = ("none", "frequency", "recent")
CREDITED = "vector+graph+credit"
#: Times that turns are drawn again for an interval of 95 %.
DRAWS = 2000
_HASTY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass
class Played:
    """What playing a stream gave: the recall of each way at each turn that counts, and what became of patterns."""

    recall: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    states: dict[str, int] = field(default_factory=dict)

    def figures(self, way: str) -> dict[str, float]:
        """Return the mean recall of a way, and how many patterns there were in the end."""
        return {"recall": float(np.mean(self.recall[way])), **self.states}


def short_list(patterns: Sequence[Found]) -> list[str]:
    """Return the three tools that the patterns given speak for most."""
    votes: defaultdict[str, float] = defaultdict(float)
    for each in patterns:
        for tool in each.tools:
            votes[tool] += max(each.nearness, 0.01)
    return sorted(votes, key=lambda tool: -votes[tool])[:SHORT]


def guessed(way: str, lately: Sequence[Turn], used: Counter[str], chance: random.Random) -> list[str]:
    """Return the short-list of a way that retrieves nothing."""
    if way == "frequency":
        return [tool for tool, _ in used.most_common(SHORT)]
    if way == "recent":
        return list(dict.fromkeys(tool for turn in reversed(lately[-SHORT:]) for tool in turn.tools))[:SHORT]
    return chance.sample(sorted(used), min(SHORT, len(used)))


async def play(stage: Stage, turns: Sequence[Turn], poison: float, seed: int, credited: bool) -> Played:
    """Play a stream in every way at once: none of them changes what is learned.

    Args:
        stage: an account that knows nothing yet.
        turns: the stream.
        poison: share of what is learned that has other tools of the same toolset; and of failures taken for successes.
        seed: of all chance.
        credited: whether runs are credited, and patterns that do harm are quarantined.
    """
    taught, lots, played, used = random.Random(seed), random.Random(~seed), Played(), Counter[str]()
    for place, turn in enumerate(turns):
        given = {way: await stage.given(way, turn) for way in WAYS}
        listed = {way: short_list(patterns) for way, patterns in given.items()}
        listed |= {way: guessed(way, turns[:place], used, lots) for way in BLIND}
        if place >= len(turns) * WARM:
            for way, tools in listed.items():
                wanted = set(turn.tools)
                played.recall[way].append(len(wanted & set(tools)) / min(len(wanted), SHORT))
        if credited and given["vector+graph"]:
            _attempt(stage, turn, given["vector+graph"], poison, lots)
        learned = wrong(turn, taught) if taught.random() < poison else turn.tools
        await stage.learn(turn.text, learned)
        used.update(learned)
    played.states = stage.states()
    return played


def _attempt(stage: Stage, turn: Turn, given: Sequence[Found], poison: float, chance: random.Random) -> None:
    """Let a run try what it is told, or without that what it finds by itself, and end as its tools deserve."""
    held_out = chance.random() < HELD_OUT
    alone = turn.tools if chance.random() < SKILL else ()
    used = alone if held_out else tuple(short_list(given))
    success = set(turn.tools) <= set(used) or chance.random() < poison
    stage.attempt(given, used, success, held_out)


async def both(database: Database, embedder: Embedder, stream: Stream, poison: float, seed: int) -> Played:
    """Play a stream with credit and without. Where nothing was quarantined both are the same, and it is played once."""
    credited = await _on_stage(database, embedder, stream, poison, seed, credited=True)
    plain = credited
    if credited.states["quarantined"]:
        plain = await _on_stage(database, embedder, stream, poison, seed, credited=False)
    recall = plain.recall | {CREDITED: credited.recall["vector+graph"]}
    return Played(defaultdict(list, recall), credited.states)


async def _on_stage(
    database: Database, embedder: Embedder, stream: Stream, poison: float, seed: int, credited: bool
) -> Played:
    stage = Stage(database, embedder, stream)
    await stage.open()
    played = await play(stage, stream.turns, poison, seed, credited)
    await stage.close()
    return played


def told(report: Report, name: str, seeds: Sequence[Played]) -> None:
    """Add what the seeds gave, the differences that matter with their intervals, and hold these against the goals."""
    for way in (*BLIND, *WAYS, CREDITED):
        for each in seeds:
            report.add(f"{name}, {way}", each.figures(way))
    for one, other, least in (
        ("vector+graph", "vector", 0.0), ("vector+graph", "vector, tools", 0.0), (CREDITED, "vector+graph", -0.02),
    ):  # fmt: skip
        found = interval([each.recall for each in seeds], one, other)
        report.add(f"{name}: {one} less {other}", found)
        report.goal(f"{name}: {one} less {other}", found["recall"], ">=", least)


def interval(seeds: Sequence[Mapping[str, list[float]]], one: str, other: str) -> dict[str, float]:
    """Return the mean difference of two ways on the same turns, and where 95 % of it lie if turns are drawn again."""
    of_turns = np.mean([np.subtract(each[one], each[other]) for each in seeds], axis=0)
    drawn = np.random.default_rng(0).choice(of_turns, (DRAWS, len(of_turns))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"recall": float(of_turns.mean()), "low": float(low), "high": float(high)}


def run(plan: Plan) -> Report:
    """Play the streams; a smoke test plays a short generated one only."""
    report = Report("patterns", "the share of the right tools among three, from patterns retrieved")
    report.notes.append("a share of what is learned is false: a run that was taken for a success with other tools")
    report.notes.append("low and high: where 95 % of the differences lie if the turns are drawn again")
    with _record() as database:
        asyncio.run(_streams(plan, report, database))
    return report


@contextmanager
def _record() -> Iterator[Database]:
    with open_rig(postgres=_HASTY) as rig:
        database = connect(Settings(environment="development", database_url=SecretStr(rig.postgres.url)))
        try:
            yield database
        finally:
            database.close()


async def _streams(plan: Plan, report: Report, database: Database) -> None:
    for name, stream, embedder in _casts(plan):
        known = Remembered(embedder)
        for poison in POISON:
            plan.say(f"patterns: {name}, {len(stream.turns)} requests, {poison:.0%} false")
            seeds = [await both(database, known, stream, poison, seed) for seed in range(plan.rounds)]
            told(report, f"{name}, {poison:.0%} false", seeds)
        await embedder.close()


def _casts(plan: Plan) -> Iterator[tuple[str, Stream, Embedder]]:
    """Give the streams and what compares their texts; made-up words have no meaning to compare."""
    yield "generated", generated(plan.size(600, 24), 1, kinds=plan.size(40, 4)), LexicalEmbedder()
    if plan.scale < 1:
        return
    stream, folder = bfcl(), installed()
    yield "BFCL v4 by words", stream, LexicalEmbedder()
    if folder:
        yield "BFCL v4 by meaning", stream, MiniLmEmbedder(folder)
    else:
        plan.say("patterns: `make embeddings` brings the sentence vectors; without them that stream is left out")
