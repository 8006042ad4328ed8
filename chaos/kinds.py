"""What the load is made of: one kind of task for each thing that can go wrong with one."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from chaos.provider import MODEL

Step = dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """Something the driver asks of the task, `after_s` seconds after it was accepted, and what it asks after that."""

    what: str  # cancel | pause | resume | retry
    after_s: float
    then: Wish | None = None


@dataclass(frozen=True)
class Order:
    """One task to submit: the probe with these steps, or an agent that is given these answers."""

    number: int
    kind: str
    steps: list[Any]
    options: dict[str, Any] = field(default_factory=dict)
    wishes: tuple[Wish, ...] = ()

    @property
    def workflow(self) -> str:
        """The workflow's name."""
        return "agent" if self.kind == "agent" else "probe"

    @property
    def input(self) -> dict[str, Any]:
        """Its input."""
        if self.workflow == "probe":
            return {"steps": self.steps}
        prompt = json.dumps({"task": str(self.number), "answers": self.steps})
        return {"prompt": prompt, "model": MODEL, "tools": ["calculator", "http_request"]}


class Maker:
    """Makes the steps of one task; `url` is the provider's."""

    def __init__(self, url: str, number: int, rng: random.Random) -> None:
        self.url = url
        self.number = number
        self.rng = rng

    def call(self, effect: str = "idempotent", behave: str = "ok", times: int = 1, part: str = "") -> Step:
        """A call of the provider; `part` tells the calls of a task's children apart."""
        url = f"{self.url}/charge?task={self.number}{part}&behave={behave}&times={times}"
        return {"call": {"url": url, "body": {"amount": 1}, "effect": effect}}

    def wait(self, low: float, high: float) -> Step:
        """A wait of seconds between `low` and `high`."""
        return {"wait_s": round(self.rng.uniform(low, high), 3)}

    def say(self) -> Step:
        """Some words to stream."""
        return {"say": "one word after another " * self.rng.randint(1, 4)}


def _keyed(make: Maker) -> Order:
    return _order(make, "keyed", [make.say(), make.call(), make.call(behave="slow"), make.wait(0.02, 0.1), make.call()])


def _pure(make: Maker) -> Order:
    return _order(make, "pure", [make.call("pure"), make.wait(0.02, 0.1), make.call("pure", "slow")])


def _unsafe(make: Maker) -> Order:
    return _order(make, "unsafe", [make.wait(0.02, 0.1), make.call("unsafe", "slow"), make.call("unsafe")])


def _words(make: Maker) -> Order:
    return _order(make, "words", [make.say(), make.wait(0.02, 0.2), make.say(), make.say()])


def _timer(make: Maker) -> Order:
    return _order(make, "timer", [make.call(), make.wait(0.5, 2.5), make.call()])


def _retried_step(make: Maker) -> Order:
    return _order(make, "retried step", [make.call(), {"fail": {"times": make.rng.randint(1, 2)}}, make.call()])


def _bad_provider(make: Maker) -> Order:
    behave = make.rng.choice(["429", "500", "truncate", "hang", "429", "500"])
    return _order(make, f"provider {behave}", [make.call(behave=behave), make.wait(0.02, 0.1), make.call()])


def _huge(make: Maker) -> Order:
    return _order(make, "provider huge", [make.call(), make.call(behave="huge", times=99)])


def _overdue(make: Maker) -> Order:
    deadline = datetime.now(UTC) + timedelta(seconds=make.rng.uniform(1, 3))
    return _order(make, "overdue", [make.call(), make.wait(20, 30)], deadline=deadline)


def _limited(make: Maker) -> Order:
    key = f"limit-{make.rng.randint(1, 3)}"
    steps = [make.call(), make.wait(0.05, 0.2)]
    return _order(make, "limited", steps, concurrency_key=key, concurrency_limit=2)


def _cancelled(make: Maker) -> Order:
    steps = [make.call(), make.wait(0.5, 2), make.call(behave="slow"), make.call(behave="slow")]
    return _order(make, "cancelled", steps, wishes=(Wish("cancel", make.rng.uniform(0.05, 3)),))


def _paused(make: Maker) -> Order:
    # Only one after the other: a pause whose answer was lost is asked again, and must not come after the resume.
    resume = Wish("resume", make.rng.uniform(0.5, 2))
    wishes = (Wish("pause", make.rng.uniform(0.05, 1), then=resume),)
    return _order(
        make, "paused", [make.call(behave="slow"), make.call(), make.wait(0.2, 0.5), make.call()], wishes=wishes
    )


def _failed_then_retried(make: Maker) -> Order:
    steps = [make.call(), {"fail": {"times": 1, "retryable": False}}, make.call()]
    return _order(make, "failed and retried", steps, wishes=(Wish("retry", make.rng.uniform(0.5, 2)),))


def _family(make: Maker) -> Order:
    number = make.rng.randint(1, 3)
    inner = {"steps": [make.call(part=".deep"), make.wait(0.02, 0.1)]}
    parts = [[make.call(part=f".{n}"), make.wait(0.02, 0.3), make.call(part=f".{n}")] for n in range(number)]
    parts[0].append({"tasks": [{"workflow": "probe", "input": inner}]})
    tasks = [{"workflow": "probe", "input": {"steps": steps}} for steps in parts]
    wishes = (Wish("cancel", make.rng.uniform(0.05, 2)),) if make.rng.random() < 0.25 else ()
    return _order(make, "family", [make.call(), {"tasks": tasks}, make.call()], wishes=wishes)


def _agent(make: Maker) -> Order:
    url = f"{make.url}/charge?task={make.number}&behave={make.rng.choice(['ok', 'slow'])}"
    look = {"url": f"{url}&key={make.number}:look&step=tool:2:http_request"}
    pay = {"url": url, "method": "POST", "body": {"amount": 1}}
    calls = [("calculator", {"expression": f"{make.number} + 1"}), ("http_request", look), ("http_request", pay)]
    together = [{"tool": name, "args": args} for name, args in calls]
    said = {"say": "one word after another " * make.rng.randint(1, 4)}
    return _order(make, "agent", [together, [said, together[2]], "All I was told: {told}"])


def _order(make: Maker, kind: str, steps: list[Any], wishes: tuple[Wish, ...] = (), **options: Any) -> Order:
    return Order(make.number, kind, steps, {"priority": make.rng.randint(0, 9), **options}, wishes)


#: Each kind with its share of the load.
KINDS: tuple[tuple[int, Callable[[Maker], Order]], ...] = (
    *((30, _keyed), (12, _pure), (12, _unsafe), (8, _words), (8, _timer), (6, _retried_step), (8, _bad_provider)),
    *((1, _huge), (3, _overdue), (4, _limited), (4, _cancelled), (4, _paused), (3, _failed_then_retried)),
    *((8, _agent), (8, _family)),
)


def order(url: str, seed: int, number: int) -> Order:
    """Return task `number` of a seed's load: always the same one."""
    rng = random.Random(f"{seed}:{number}")
    chosen = rng.choices([make for _, make in KINDS], [share for share, _ in KINDS])[0]
    return chosen(Maker(url, number, rng))
