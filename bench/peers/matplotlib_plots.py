"""Draws one SVG for every benchmark that has figures. Arguments: folder of the JSON, folder for the pictures.

No background, grey text and the colours of Okabe and Ito: readable on light and dark pages and for colour-blind people.
"""

import itertools
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
GREY = "#808080"
#: What the bars of a benchmark show; of others, their first two figures.
BARS = {
    "dispatch": ("tasks/s", "start p99 ms"),
    "inflight": ("worker CPU ms/run", "KB/run in flight"),
}

Report = dict[str, Any]


def bars(report: Report) -> Figure:
    """One bar for each contender, the median; a thin line from the lowest round to the highest."""
    rounds = report["rounds"]
    known = list(dict.fromkeys(name for each in rounds.values() for name in each[0]))
    figures = [name for name in BARS.get(report["bench"], known[:2]) if name in known]
    picture, axes = plt.subplots(1, len(figures), figsize=(8.5, 1 + 0.3 * len(rounds)), sharey=True, squeeze=False)
    for place, figure in zip(axes[0], figures, strict=True):
        _bars(place, rounds, figure)
    return picture


def _bars(place: Axes, rounds: dict[str, list[dict[str, float]]], figure: str) -> None:
    for row, (contender, found) in enumerate(rounds.items()):
        values = [each[figure] for each in found if figure in each]
        if not values:
            continue
        colour = BLUE if contender.lower().startswith("umbel") else ORANGE
        place.barh(row, statistics.median(values), color=colour, height=0.65)
        place.plot([min(values), max(values)], [row, row], color=GREY, linewidth=1)
    place.set_yticks(range(len(rounds)), list(rounds))
    if not place.yaxis_inverted():
        place.invert_yaxis()
    place.set_xlabel(figure)
    place.set_xlim(left=0)


def stream(report: Report) -> Figure:
    """Memory, latency and burst over the number of sockets, one line for each server."""
    figures = ("KB each", "p99 ms", "burst frames/s", "CPU us/frame")
    picture, axes = plt.subplots(2, 2, figsize=(8.5, 5))
    for place, figure in zip(axes.flat, figures, strict=True):
        for colour, server in zip(
            COLOURS, dict.fromkeys(name.rsplit(" ", 1)[0] for name in report["rounds"]), strict=False
        ):
            _line(place, report["rounds"], server, figure, colour)
        place.set(xscale="log", xlabel="sockets", ylabel=figure)
        place.set_ylim(bottom=0)
    axes.flat[0].legend()
    return picture


def _line(place: Axes, rounds: dict[str, list[dict[str, float]]], server: str, figure: str, colour: str) -> None:
    sizes = {int(name.rsplit(" ", 1)[1]): found for name, found in rounds.items() if name.rsplit(" ", 1)[0] == server}
    values = [[each[figure] for each in found] for found in sizes.values()]
    place.plot(list(sizes), [statistics.median(each) for each in values], "o-", color=colour, label=server)
    place.vlines(list(sizes), [min(each) for each in values], [max(each) for each in values], color=colour, linewidth=1)


def growth(report: Report) -> Figure:
    """What each call costs, relative to the fewest tasks; calls that grow beyond the goal are named."""
    picture, place = plt.subplots(figsize=(8.5, 4.5))
    looks = itertools.cycle((colour, line) for line in ("-", "--", ":") for colour in COLOURS)
    for name, found in report["rounds"].items():
        sizes = [size for size in found[0] if size.replace(",", "").isdigit()]
        costs = [statistics.median(each[size] for each in found) for size in sizes]
        relative = [cost / costs[0] for cost in costs]
        style: dict[str, Any] = {"color": GREY, "alpha": 0.5, "linewidth": 0.8}
        if relative[-1] > 1.3:
            colour, line = next(looks)
            style = {
                "color": colour,
                "linestyle": line,
                "label": f"{name}: {relative[-1]:,.{0 if relative[-1] >= 100 else 2}f}",
                "zorder": 3,
            }
        place.plot([int(size.replace(",", "")) for size in sizes], relative, marker="o", markersize=3, **style)
    place.axhline(1.3, color=RED, linestyle="--", linewidth=1, label="goal: at most 1.3")
    place.set(xscale="log", yscale="log", xlabel="finished tasks in the tables", ylabel="PostgreSQL CPU, relative")
    place.legend(fontsize=7, loc="upper left")
    return picture


def patterns(report: Report) -> Figure:
    """How many of the right tools each way finds, over the share of what was learned that is false, by stream."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for name, rounds in report["rounds"].items():
        told = re.fullmatch(r"(?P<stream>.+), (?P<share>\d+)% false, (?P<way>.+)", name)
        if told:
            ways = found.setdefault(told["stream"], {}).setdefault(told["way"], {})
            ways[int(told["share"])] = statistics.mean(each["recall"] for each in rounds)
    picture, axes = plt.subplots(1, len(found), figsize=(8.5, 3.5), sharey=True, squeeze=False)
    for place, (stream, ways) in zip(axes[0], found.items(), strict=True):
        for colour, (way, shares) in zip((*COLOURS, GREY), ways.items(), strict=False):
            place.plot(list(shares), list(shares.values()), "o-", color=colour, markersize=3, linewidth=1.2, label=way)
        place.set(xlabel="% false", title=stream, ylim=(0, 1))
    axes[0][0].set_ylabel("share of the right tools")
    axes[0][-1].legend(fontsize=7)
    return picture


def soak(report: Report) -> Figure:
    """Memory and descriptors of every process family over time."""
    picture, axes = plt.subplots(2, 1, figsize=(8.5, 5.5), sharex=True)
    for colour, (name, samples) in zip(COLOURS, report["rounds"].items(), strict=False):
        minutes = [each["minute"] for each in samples]
        for place, figure in zip(axes, ("memory MB", "descriptors"), strict=True):
            place.plot(minutes, [each[figure] for each in samples], color=colour, label=name, linewidth=1.2)
    axes[0].set(ylabel="memory (PSS), MB", ylim=(0, None))
    axes[1].set(ylabel="open descriptors", xlabel="minutes", ylim=(0, None))
    axes[0].legend(ncols=5, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return picture


DRAWN: dict[str, Callable[[Report], Figure]] = {
    "stream": stream, "growth": growth, "patterns": patterns, "soak": soak,
}  # fmt: skip


def main(figures: Path, plots: Path) -> None:
    """Draw what there is."""
    grey = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    mpl.use("svg")
    mpl.rcParams.update(dict.fromkeys(grey, GREY))
    mpl.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "umbel", "font.family": "sans-serif", "font.size": 9,
         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    )  # fmt: skip
    for path in sorted(figures.glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        picture = DRAWN.get(report["bench"], bars)(report)
        picture.tight_layout()
        picture.savefig(plots / f"{report['bench']}.svg", transparent=True, metadata={"Date": None})
        plt.close(picture)
        print(plots / f"{report['bench']}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
