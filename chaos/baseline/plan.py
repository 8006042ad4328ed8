"""What is done to every system alike, drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

WORKERS = 3
SLOTS = 4


@dataclass(frozen=True)
class Plan:
    """Tasks and kills spread over seconds; with `servers`, Redis is wiped and PostgreSQL crashed while tasks wait."""

    name: str
    tasks: int
    kills: int
    seconds: float
    seed: int
    servers: bool = False

    def kills_at(self) -> list[tuple[float, int]]:
        """When which worker is killed, in seconds from the beginning."""
        rng = random.Random(f"{self.seed}:killer")
        return [(moment, rng.randrange(WORKERS)) for moment in sorted(self._moments(rng))]

    def _moments(self, rng: random.Random) -> list[float]:
        return [rng.uniform(0, self.seconds) for _ in range(self.kills)]

    @property
    def load_s(self) -> float:
        """How long tasks are handed in: to the end, or at once so that a queue is there when the servers fail."""
        return self.seconds * 0.1 if self.servers else self.seconds

    @property
    def wiped_at(self) -> float:
        """When Redis loses everything."""
        return self.seconds * 0.2

    @property
    def crashed_at(self) -> float:
        """When PostgreSQL is stopped at once."""
        return self.seconds * 0.4
