"""Patterns over HTTP: listed, shown with what speaks for them, changed by people, and measured."""

from functools import partial
from typing import Any
from uuid import UUID

import pytest

from models.base import new_id
from models.database import Database
from models.patterns import PatternKind
from models.repositories import pattern_uses, patterns
from models.scope import AccountScope
from tests.web.conftest import Caller, Client
from worker.patterns.crediting import credit

pytestmark = pytest.mark.stack

STEPS = [{"tool": "search", "arguments": {"query": "the input"}}, {"tool": "note", "arguments": {}}]


@pytest.fixture
def learn(database: Database, account: Caller) -> Any:
    """Have a run teach a pattern."""

    def learned(title: str = "Search, then keep", verifier: str | None = "tests", **more: Any) -> str:
        given = {"situation": "a question about the world", "steps": STEPS, "tools": {}, "agent": "", "digest": title}
        new = patterns.NewPattern(**{"kind": PatternKind.WORKFLOW, "title": title, "toolset_hash": "", **given, **more})
        shown = patterns.Shown(new_id(), new_id(), verifier)
        return str(database.run(lambda c: patterns.learn(c, account.scope, new, shown)).id)

    return learned


def end_runs(database: Database, scope: AccountScope, pattern: str, success: list[bool], *, held_out: bool) -> None:
    """Let runs end that looked the pattern up, and used its tools where they were shown it."""

    def work(connection: Any) -> None:
        for well in success:
            run, task = new_id(), new_id()
            outcome = pattern_uses.Outcome(run, task, "", well, None, 2 if well else 4, 1, 10, None)
            pattern_uses.ended(connection, scope, outcome)
            use = {"id": pattern, "version": 1, "similarity": 0.9, "rank": 1}
            credit(connection, scope, run, task, {"patterns": [use], "held_out": held_out}, ["search", "note"])

    database.run(work)


def test_patterns_are_listed_by_state_and_kind_page_by_page(client: Client, learn: Any) -> None:
    first, second = learn("one"), learn("two", verifier=None)
    third = learn("three", kind=PatternKind.PITFALL)
    page = client.get("/v1/patterns?limit=2").json
    assert [each["id"] for each in page["patterns"]] == [third, second]
    rest = client.get(f"/v1/patterns?limit=2&cursor={page['next_cursor']}").json
    assert ([each["id"] for each in rest["patterns"]], rest["next_cursor"]) == ([first], None)
    found = {
        query: client.get(f"/v1/patterns?{query}").json["patterns"] for query in ("state=candidate", "kind=pitfall")
    }
    assert [[each["id"] for each in one] for one in found.values()] == [[second], [third]]
    assert client.get("/v1/patterns?agent=nobody").json["patterns"] == []
    assert client.get("/v1/patterns?state=asleep").status_code == 400


def test_a_pattern_is_shown_with_evidence_credit_and_history(
    client: Client, learn: Any, database: Database, account: Caller
) -> None:
    pattern = learn()
    told = client.get(f"/v1/patterns/{pattern}").json
    assert (told["title"], told["steps"], told["state"], told["credit"]) == ("Search, then keep", STEPS, "active", None)
    assert [each["verifier"] for each in told["evidence"]] == ["tests"]
    assert [line["change"] for line in told["history"]] == ["learned"]
    end_runs(database, account.scope, pattern, [True] * 3, held_out=False)
    credit = client.get(f"/v1/patterns/{pattern}").json["credit"]
    assert (credit["verdict"], credit["runs"], credit["held_out"]) == ("wait", 3, 0)
    assert credit["lower"] <= credit["value"] <= credit["upper"]


def test_words_find_patterns_of_this_account_only(client: Client, learn: Any, other_account: Caller) -> None:
    pattern = learn("Book a flight")
    learn("Sort a table", verifier=None)
    for text in ("flight", "a FLIGHT to 'Rome' | or & not", "flight\u2019s \\ : * ( )"):
        found = client.get("/v1/patterns/search", query_string={"text": text}).json["patterns"]
        assert [each["id"] for each in found] == [pattern], text
    for text in ("sort", "nothing alike", "!!!"):
        assert client.get("/v1/patterns/search", query_string={"text": text}).json["patterns"] == []
    assert client.get("/v1/patterns/search?text=sort&state=candidate").json["patterns"] != []
    other = other_account.headers
    assert client.get("/v1/patterns/search?text=flight", headers=other).json["patterns"] == []
    assert client.get("/v1/patterns", headers=other).json["patterns"] == []
    assert client.get(f"/v1/patterns/{pattern}", headers=other).status_code == 404
    assert client.post(f"/v1/patterns/{pattern}/retire", headers=other).status_code == 404


def test_a_person_edits_pins_retires_and_rolls_back(client: Client, learn: Any) -> None:
    at = f"/v1/patterns/{learn()}"
    edited = {"title": "Better words", "steps": [{"tool": "note", "arguments": {"text": "search"}}]}
    assert client.put(f"{at}?version=7", json=edited).status_code == 409
    changed = client.put(f"{at}?version=1", json=edited).json
    assert (changed["version"], changed["title"], changed["situation"]) == (2, "Better words", "")
    assert client.post(f"{at}/pin", json={"pinned": True}).json["pinned"] is True
    assert client.post(f"{at}/quarantine", json={"reason": "odd"}).json["reason"] == "odd"
    assert client.post(f"{at}/activate").json["state"] == "active"
    assert client.post(f"{at}/retire").json["state"] == "retired"
    assert client.post(f"{at}/quarantine").status_code == 409
    back = client.post(f"{at}/rollback", json={"version": 1}).json
    assert (back["version"], back["title"]) == (3, "Search, then keep")
    assert client.post(f"{at}/rollback", json={"version": 9}).status_code == 404
    changes = [line["change"] for line in client.get(at).json["history"]]
    assert changes == ["rolled back", "retired", "active", "quarantined", "pinned", "edited", "learned"]
    assert all(line["user_id"] for line in client.get(at).json["history"][:-1])


@pytest.mark.parametrize(
    ("route", "body", "status"),
    [
        ("", {"title": "", "steps": []}, 422),
        ("", {"title": "x", "steps": [{"tool": "a", "extra": 1}]}, 422),
        ("", {"title": "x" * 201, "steps": []}, 422),
        ("/pin", {}, 422),
        ("/rollback", {"version": 0}, 422),
        ("/retire", {"reason": "x" * 501}, 422),
    ],
)
def test_what_can_be_no_change_is_refused(client: Client, learn: Any, route: str, body: Any, status: int) -> None:
    at = f"/v1/patterns/{learn()}{route}"
    assert (client.post if route else client.put)(at, json=body).status_code == status


def test_missing_and_malformed_ids_are_alike(client: Client) -> None:
    for name in (UUID(int=1), "no-id"):
        assert client.get(f"/v1/patterns/{name}").status_code == 404
        assert client.post(f"/v1/patterns/{name}/retire").status_code == 404


def test_harm_is_quarantined_unless_it_is_pinned_and_the_statistics_tell(
    client: Client, learn: Any, database: Database, account: Caller
) -> None:
    harmful, pinned = learn("harmful"), learn("pinned")
    client.post(f"/v1/patterns/{pinned}/pin", json={"pinned": True})
    end = partial(end_runs, database, account.scope)
    for pattern in (harmful, pinned):
        end(pattern, [True] * 12, held_out=True)
        end(pattern, [False] * 20, held_out=False)
    first, second = (client.get(f"/v1/patterns/{each}").json for each in (harmful, pinned))
    assert (first["state"], first["credit"]["verdict"], first["credit"]["held_out"]) == (
        "quarantined",
        "quarantine",
        12,
    )
    assert first["reason"].startswith("runs that followed it succeeded 100% less often")
    assert (second["state"], second["credit"]["verdict"]) == ("active", "quarantine")
    told = client.get("/v1/patterns/stats").json
    assert told["runs"] == {"given": 40, "held_out": 24, "unknown": 0}
    assert told["uplift"]["success"]["value"] == -1 and told["uplift"]["success"]["upper"] < 0
    assert told["uplift"]["steps"]["value"] == 2 and told["uplift"]["cost_usd"] is None
    assert (told["precision_at_3"], told["harmful_use_rate"], told["coverage"]) == (1, 0.5, 1)
    assert (told["staleness"], told["patterns"]["quarantined"], told["patterns"]["proven"]) == (0, 1, 0)
    assert client.get("/v1/patterns/stats?since=2999-01-01T00:00:00Z").json["runs"]["given"] == 0


def test_without_any_run_the_statistics_claim_nothing(client: Client) -> None:
    told = client.get("/v1/patterns/stats").json
    assert set(told["uplift"].values()) == {None}
    assert (told["precision_at_3"], told["coverage"], told["staleness"]) == (None, None, None)
