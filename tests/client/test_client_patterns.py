"""`umbel patterns`: indexes are built anew, and how far they are is shown."""

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from umbel_client.cli import patterns

from tests.client.standin import StandIn

Run = Callable[..., Result]


def build(state: str, done: int, error: str | None = None) -> dict[str, Any]:
    return {"id": "b", "state": state, "done": done, "total": 9, "embedder": "lexical-1", "error": error}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "LOOK_S", 0.0)


def test_reindex_shows_how_far_it_is_until_it_has_ended(run: Run, server: StandIn) -> None:
    server.builds = deque(
        [build("queued", 0, "vector_store_unavailable"), {}, build("running", 4), {}, build("done", 9)]
    )
    result = run("patterns", "reindex")
    assert result.exit_code == 0
    assert result.stdout == "vectors: done, 9 of 9 by lexical-1\n"
    assert result.stderr.splitlines() == ["queued 0 of 9, waits: vector_store_unavailable", "running 4 of 9"]
    assert server.paths("POST") == ["/v1/indexes/vectors/build"]


def test_reindex_says_why_an_index_was_not_built(run: Run, server: StandIn) -> None:
    server.builds = deque([build("failed", 0, "embedder_unavailable")])
    result = run("patterns", "reindex", "--index", "graph")
    assert (result.exit_code, server.paths("POST")) == (1, ["/v1/indexes/graph/build"])
    assert "embedder_unavailable" in result.stderr


def test_reindex_need_not_wait(run: Run, server: StandIn) -> None:
    server.builds = deque([build("queued", 0)])
    assert json.loads(run("patterns", "reindex", "--no-wait", "--json").stdout)["state"] == "queued"


def test_graph_shows_each_fact_in_a_line(run: Run, server: StandIn) -> None:
    result = run("patterns", "graph", "p1", "--depth", "1")
    assert result.stdout == "Pattern Search [then] keep USES Tool web_search\n"
    assert result.stderr == "There is more than is shown.\n"
    assert json.loads(run("patterns", "graph", "p1", "--json").stdout)["cut"] is True


def test_graph_is_drawn_into_a_file(run: Run, server: StandIn, tmp_path: Path) -> None:
    result = run("patterns", "graph", "p1", "--svg", str(tmp_path / "graph.svg"))
    assert result.exit_code == 0
    assert (tmp_path / "graph.svg").read_text() == "<svg/>"
    assert server.paths() == ["/v1/patterns/p1/graph.svg"]
