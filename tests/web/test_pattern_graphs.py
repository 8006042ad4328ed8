"""The graph around a pattern over HTTP."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from models.base import new_id
from models.database import Database
from models.patterns import EdgeKind, NodeKind, PatternKind
from models.repositories import graph, patterns
from models.repositories.graph import Edge, Node
from tests.web.conftest import Caller, Client

pytestmark = pytest.mark.stack


@pytest.fixture
def pattern(database: Database, account: Caller) -> str:
    """A pattern that uses a tool, which another uses, too."""

    def learned(connection: Any, title: str) -> Node:
        words = {"title": title, "situation": "", "steps": [], "tools": {}, "agent": "", "toolset_hash": ""}
        new = patterns.NewPattern(**{"kind": PatternKind.WORKFLOW, "digest": title, **words})  # type: ignore[arg-type]
        id = patterns.learn(connection, account.scope, new, patterns.Shown(new_id(), new_id(), "tests")).id
        return Node(NodeKind.PATTERN, str(id))

    def write(connection: Any) -> str:
        first, second = learned(connection, "Search & keep <it>"), learned(connection, "Search")
        tool = Node(NodeKind.TOOL, "web_search")
        edges = [Edge(first, EdgeKind.USES, tool), Edge(second, EdgeKind.USES, tool, {"step": 1})]
        graph.write(connection, account.scope, edges)
        return first.key

    return database.run(write)


def test_what_is_near_a_pattern_is_told_with_titles(client: Client, pattern: str) -> None:
    found = client.get(f"/v1/patterns/{pattern}/graph").json
    names = {each["id"]: each["properties"].get("title", each["key"]) for each in found["nodes"]}
    assert [(each["kind"], each["depth"]) for each in found["nodes"]] == [("Pattern", 0), ("Tool", 1), ("Pattern", 2)]
    assert sorted((names[each["from"]], each["kind"], names[each["to"]]) for each in found["edges"]) == [
        ("Search", "USES", "web_search"), ("Search & keep <it>", "USES", "web_search"),
    ]  # fmt: skip
    assert found["cut"] is False
    near = client.get(f"/v1/patterns/{pattern}/graph?depth=1&limit=1").json
    assert ([each["kind"] for each in near["nodes"]], near["edges"], near["cut"]) == (["Pattern"], [], True)


def test_the_picture_is_svg_that_any_page_may_show(client: Client, pattern: str) -> None:
    answer = client.get(f"/v1/patterns/{pattern}/graph.svg")
    assert (answer.status_code, answer.content_type) == (200, "image/svg+xml")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    texts = {each.text for each in ET.fromstring(answer.data).iter("{http://www.w3.org/2000/svg}text")}
    assert {"Search & keep <it>", "web_search", "USES →"} <= texts


def test_of_another_account_or_of_none_there_is_no_graph(
    client: Client, pattern: str, other_account: Caller, account: Caller
) -> None:
    for path in ("graph", "graph.svg"):
        assert client.get(f"/v1/patterns/{pattern}/{path}", headers=other_account.headers).status_code == 404
        assert client.get(f"/v1/patterns/{new_id()}/{path}").status_code == 404
        assert client.get(f"/v1/patterns/{pattern}/{path}?depth=4").status_code in (400, 422)
