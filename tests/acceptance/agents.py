"""Agents of the acceptance tests: what they are told to do, and what the record and the ledger say they did."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import NamedTupleCursor
from umbel_client import Umbel

from chaos.provider import MODEL, ProviderProcess
from local.rig import Rig


def call(tool: str, **args: Any) -> dict[str, Any]:
    return {"tool": tool, "args": args}


class Work:
    """An agent task at a provider: three tools together, a payment, an answer with all their results."""

    steps = (
        *("model:1", "tool:1:calculator", "tool:2:http_request", "tool:3:http_request"),
        *("model:2", "tool:4:http_request", "model:3"),
    )
    looks = frozenset({"tool:2:http_request"})
    pays = frozenset({"tool:3:http_request", "tool:4:http_request"})

    def __init__(self, provider: ProviderProcess, name: str) -> None:
        self.name = name
        url = f"http://127.0.0.1:{provider.port}/charge"
        pay = call("http_request", url=url, method="POST", body={"amount": 1})
        look = call("http_request", url=f"{url}?key={name}:look")
        together = [call("calculator", expression="6 * 7"), look, pay]
        self.prompt = json.dumps({"task": name, "answers": [together, [pay], "All I was told: {told}"]})

    def submit(self, client: Umbel) -> Any:
        tools = ["calculator", "http_request"]
        return client.submit("agent", {"prompt": self.prompt, "model": MODEL, "tools": tools})

    def ledger_key(self, run: str, step: str) -> str:
        if step.startswith("model:"):
            return f"{self.name}:{step}"
        return f"{self.name}:look" if step in self.looks else f"{run}:{step}"

    def called(self, run: str, ledger: Counter[str]) -> dict[str, int]:
        """How often each step's call reached the provider."""
        return {step: ledger[self.ledger_key(run, step)] for step in self.steps if "calculator" not in step}


def steps_of(rig: Rig, run: str) -> dict[str, Any]:
    """The recorded steps, past the product."""
    with closing(psycopg2.connect(rig.postgres.url)) as connection:
        with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
            cursor.execute("SELECT * FROM steps WHERE run_id = %s", (run,))
            return {row.key: row for row in cursor.fetchall()}


def lessons_of(rig: Rig, runs: list[str]) -> list[str]:
    """What came of learning from these runs, one word for each that was learned from."""
    with closing(psycopg2.connect(rig.postgres.url)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT outcome FROM pattern_lessons WHERE run_id::text = ANY(%s)", (runs,))
            return [row[0] for row in cursor.fetchall()]


def calls(provider: ProviderProcess) -> Counter[str]:
    return Counter(line["key"] for line in provider.calls())


@pytest.fixture(scope="module")
def model(servers: Rig) -> Iterator[ProviderProcess]:
    provider = ProviderProcess(servers.home.path / "model.jsonl", servers.home.logs / "model.log")
    yield provider
    provider.close()


class Talk:
    """A conversation of two tasks: an agent is told something as it works on the first, and may hand on two pieces."""

    def __init__(self, client: Umbel, name: str, *, hands_on: bool) -> None:
        self.client, self.name = client, name
        self.session = client.sessions.create(name).id
        self.pieces = ["waited", "detached"] if hands_on else []
        handed_on = [self._hand_on(f"{name}-{kind}", wait=kind == "waited") for kind in self.pieces]
        answers = [*([handed_on] if hands_on else []), f"first {name}", f"second {name}"]
        script = {"task": name, "answers": answers}
        self.first = self._submit(json.dumps(script))
        client.steer(self.first.id, f"hurry {name}")

    @staticmethod
    def _hand_on(name: str, *, wait: bool) -> dict[str, Any]:
        prompt = json.dumps({"task": name, "answers": ["helped"]})
        return call("spawn_task", workflow="agent", input={"prompt": prompt, "model": MODEL}, wait=wait)

    def _submit(self, prompt: str) -> Any:
        given = {"prompt": prompt, "model": MODEL, "tools": ["spawn_task"], "session": self.session}
        return self.client.submit("agent", given)

    def go_on(self) -> Any:
        """Say something more; return the second task."""
        return self._submit(f"more {self.name}")

    def heard(self) -> dict[str, list[str]]:
        """What each call of the model must have been told after the script, by the key it is paid under."""
        first, second = [f"hurry {self.name}"], [f"hurry {self.name}", f"more {self.name}"]
        said = [first, first, second] if self.pieces else [first, second]
        calls = {f"{self.name}:model:{number}": heard for number, heard in enumerate(said, start=1)}
        return calls | {f"{self.name}-{kind}:model:1": [] for kind in self.pieces}

    def texts(self) -> list[str]:
        """All the conversation's messages, in order."""
        messages = list(self.client.sessions.messages(self.session))
        assert [each.number for each in messages] == list(range(1, len(messages) + 1))
        return [each.text for each in messages]


class Stream:
    """An agent task whose first answer is held back until `meet` others are in flight, then calls a tool twice."""

    def __init__(self, number: int, meet: int) -> None:
        self.name = f"stream-{number}"
        sums = [call("calculator", expression=f"{number} + {more}") for more in (1, 2)]
        answers = [sums, f"{number} and some words to stream one by one: {{told}}"]
        self.prompt = json.dumps({"task": self.name, "answers": answers, "meet": meet})

    def submit(self, client: Umbel) -> Any:
        return client.submit("agent", {"prompt": self.prompt, "model": MODEL, "tools": ["calculator"]})
