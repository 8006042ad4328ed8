"""`umbel patterns`: what finished runs taught, looked at and changed."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from umbel_client import Umbel

from tests.client.standin import StandIn

Run = Callable[..., Result]
CREDIT = {"value": 0.3, "lower": 0.1, "upper": 0.5}
PATTERN: dict[str, Any] = {
    "id": "p1", "kind": "workflow", "state": "active", "title": "Find, then book", "version": 2, "pinned": True,
    "credit": CREDIT,
}  # fmt: skip


def answers(server: StandIn, *told: dict[str, Any]) -> None:
    server.failures.extend((200, each, {}) for each in told)


def test_patterns_are_listed_page_by_page(run: Run, server: StandIn, umbel: Umbel) -> None:
    answers(server, {"patterns": [PATTERN], "next_cursor": "more"}, {"patterns": [PATTERN | {"credit": None}]})
    told = run("patterns", "list", "--state", "active").stdout
    line = "p1\tworkflow\tactive\t{}\tFind, then book\n"
    assert told == line.format("+0.30 (+0.10 to +0.50)") + line.format("")
    answers(server, {"patterns": [PATTERN]})
    assert [each["id"] for each in umbel.patterns.search("a flight")] == ["p1"]
    assert server.paths() == ["/v1/patterns", "/v1/patterns", "/v1/patterns/search"]


def test_what_is_known_is_told_with_what_could_not_be_asked(run: Run, server: StandIn) -> None:
    how = {"found_by": "lexical", "embedder": "lexical-1", "degraded": {"graph": "timeout"}}
    answers(server, {"block": "notes", "patterns": [], **how})
    told = run("patterns", "retrieve", "book a flight")
    assert (told.stdout, told.stderr) == ("notes\n", "not asked: graph: timeout\nfound by lexical lexical-1\n")
    assert server.calls[-1][3] == {"text": "book a flight"}
    answers(server, {"block": "", "passages": [], "degraded": {}})
    assert (
        run("patterns", "retrieve", "a flight", "--of", "messages", "--of", "artifacts").stdout == "nothing is known\n"
    )
    assert server.calls[-1][3] == {"text": "a flight", "of": ["messages", "artifacts"]}


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["pin", "p1"], "/pin", {"pinned": True}),
        (["pin", "p1", "--off"], "/pin", {"pinned": False}),
        (["activate", "p1"], "/activate", {"reason": ""}),
        (["retire", "p1", "--reason", "old"], "/retire", {"reason": "old"}),
        (["quarantine", "p1"], "/quarantine", {"reason": ""}),
        (["rollback", "p1", "1"], "/rollback", {"version": 1}),
        (["edit", "p1", '{"title": "x", "steps": []}', "--version", "2"], "", {"title": "x", "steps": []}),
    ],
)
def test_patterns_are_changed(arguments: list[str], path: str, body: Any, run: Run, server: StandIn) -> None:
    answers(server, PATTERN)
    assert run("patterns", *arguments).stdout == "p1: version 2, active, pinned\n"
    assert server.calls[-1][1::2] == (f"/v1/patterns/p1{path}", body)


def test_patterns_are_shown_and_their_worth_too(run: Run, server: StandIn) -> None:
    answers(server, PATTERN | {"evidence": []}, {"uplift": {}})
    assert '"evidence": []' in run("patterns", "show", "p1").stdout
    assert '"uplift"' in run("patterns", "stats", "--agent", "scout").stdout
