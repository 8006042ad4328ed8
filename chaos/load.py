"""The load: submits as a user would, plays the person who is asked, and writes down what was accepted."""

from __future__ import annotations

import heapq
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from umbel_client import Umbel
from umbel_client.errors import Conflict, UmbelError

from chaos.field import Field
from chaos.kinds import Order, Wish, order

SUBMITTERS = 3
PAUSE_S = 0.2
POLL_S = 0.02
OPEN = ("queued", "running", "waiting")


class Load:
    """`total` tasks spread over the round; every accepted one is a line in a file before anything else is done."""

    def __init__(self, field: Field, total: int) -> None:
        self.field = field
        self.total = total
        self.accepted_file = field.folder / "accepted.jsonl"
        self.decided_file = field.folder / "decided.jsonl"
        self.accepted: list[dict[str, Any]] = []
        self.refusals = 0
        self._next = 0
        self._wishes: list[tuple[float, int, str, Wish]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._rng = random.Random(f"{field.seed}:decisions")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Submit and answer in threads until left."""
        threads = [threading.Thread(target=self._submit_forever, name="submit") for _ in range(SUBMITTERS)]
        threads += [threading.Thread(target=work, name="person") for work in (self._wish_forever, self._decide_forever)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    @property
    def all_submitted(self) -> bool:
        """Whether every task was accepted."""
        return len(self.accepted) >= self.total

    def open_tasks(self) -> int | None:
        """Count tasks that have not ended, or None if PostgreSQL cannot be asked."""
        try:
            return int(self.field.ask("SELECT count(*) FROM tasks WHERE status = ANY(%s)", (list(OPEN),))[0][0])
        except Exception:
            return None

    def _submit_forever(self) -> None:
        with self.field.client() as client:
            while not self._stop.is_set():
                number = self._take()
                if number is None:
                    return
                self._submit(client, order(self.field.provider_url, self.field.seed, number))

    def _take(self) -> int | None:
        """The next task's number when its time has come; None when there is no more."""
        with self._lock:
            if self._next >= self.total:
                return None
            number, self._next = self._next, self._next + 1
        while self.field.pace.share() < number / self.total and not self._stop.wait(POLL_S):
            pass
        return number

    def _submit(self, client: Umbel, wanted: Order) -> None:
        """Hand it in until it is accepted, always with the same key."""
        key = f"chaos-{self.field.seed}-{wanted.number}"
        while not self._stop.is_set():
            try:
                task = client.submit(wanted.workflow, wanted.input, idempotency_key=key, **wanted.options)
            except UmbelError:
                self.refusals += 1
                self._stop.wait(PAUSE_S)
                continue
            self._note({"number": wanted.number, "id": task.id, "kind": wanted.kind, "key": key, "at": time.time()})
            for wish in wanted.wishes:
                self._wish(wish.after_s, wanted.number, task.id, wish)
            return

    def _wish(self, after_s: float, number: int, task_id: str, wish: Wish) -> None:
        with self._lock:
            heapq.heappush(self._wishes, (time.monotonic() + after_s, number, task_id, wish))

    def _note(self, line: dict[str, Any]) -> None:
        with self._lock:
            _append(self.accepted_file, line)
            self.accepted.append(line)

    def _wish_forever(self) -> None:
        with self.field.client() as client:
            while not self._stop.wait(0.02):
                with self._lock:
                    due = self._wishes and self._wishes[0][0] <= time.monotonic()
                    found = heapq.heappop(self._wishes) if due else None
                if found is None:
                    continue
                _, number, task_id, wish = found
                if not self._ask(client, task_id, wish.what):
                    self._wish(PAUSE_S, number, task_id, wish)
                elif wish.then is not None:
                    self._wish(wish.then.after_s, number, task_id, wish.then)

    def _ask(self, client: Umbel, task_id: str, what: str) -> bool:
        """Ask; return whether there is an answer: done, or too late for it (409)."""
        try:
            if what == "retry" and client.get(task_id).status in OPEN:
                return False
            getattr(client, what)(task_id)
        except Conflict:
            # A resume is refused until the pause was acted on; it must be asked again, or the task rests for ever.
            return what != "resume" or _has_ended(client, task_id)
        except UmbelError:
            return False
        return True

    def _decide_forever(self) -> None:
        """Play the person who says what became of an unsafe step in doubt."""
        with self.field.client() as client:
            while not self._stop.wait(0.5):
                try:
                    for task in client.list(status="waiting", limit=200):
                        if task.waiting and task.waiting.reason == "in_doubt":
                            self._decide(client, task.id, str(task.waiting.detail))
                except UmbelError:
                    continue

    def _decide(self, client: Umbel, task_id: str, step: str) -> None:
        verdict = self._rng.choice(["repeat", "skip", "fail"])
        # Written first: a decision that was carried out must be known to the checker.
        _append(self.decided_file, {"task": task_id, "step": step, "verdict": verdict})
        client.resume(task_id, decision=verdict)
        self.field.count("doubts resolved")


def _has_ended(client: Umbel, task_id: str) -> bool:
    try:
        return client.get(task_id).finished
    except UmbelError:
        return False


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
