"""A walk as a picture: whole, the same each time, and harmless whatever the texts in it say."""

from xml.etree import ElementTree as ET

import pytest

from models.repositories.graph_walks import EdgeTaken, NodeMet, Walk
from worker.patterns.graph.picture import as_json, as_svg, label

SVG = "{http://www.w3.org/2000/svg}"
NODES = [
    NodeMet(3, "Pattern", "019a3c2e-7b1d-7000-8000-0123456789ab", {"title": "Search, then keep"}, 0),
    NodeMet(2, "Tool", "search", {}, 1),
    NodeMet(1, "ErrorClass", "timeout", {}, 1),
    NodeMet(5, "Pattern", "019a3c2e-7b1d-7000-8000-0123456789ff", {}, 2),
]
EDGES = [EdgeTaken(3, "USES", 2, {"step": 1}), EdgeTaken(3, "SOLVES", 1, {}), EdgeTaken(5, "USES", 2, {})]
WALK = Walk(NODES, EDGES)


def drawn(walk: Walk) -> ET.Element:
    return ET.fromstring(as_svg(walk, "the graph"))


def texts(picture: ET.Element) -> list[str]:
    return [each.text or "" for each in picture.iter(f"{SVG}text")]


def test_every_node_and_edge_is_in_the_picture_with_its_kind() -> None:
    assert sorted(texts(drawn(WALK))) == sorted([
        *("Pattern", "Search, then keep", "Tool", "search", "ErrorClass", "timeout", "Pattern", "…456789ff"),
        *("USES →", "SOLVES →", "← USES"),
    ])  # fmt: skip


def test_boxes_are_in_columns_by_distance_and_do_not_overlap() -> None:
    picture = drawn(WALK)
    boxes = [each for each in picture.iter(f"{SVG}rect") if each.get("rx")]
    places = [(int(each.get("x", "")), int(each.get("y", ""))) for each in boxes]
    assert [x for x, _ in places] == [20, 320, 320, 620]
    (_, one), (_, other) = places[1:3]
    assert abs(one - other) >= 34
    assert all(0 <= x < int(picture.get("width", "")) - 190 and y >= 0 for x, y in places)


def test_the_same_walk_is_the_same_picture_in_whatever_order_it_is_told() -> None:
    assert as_svg(WALK, "t") == as_svg(WALK, "t")
    other = Walk([NODES[0], NODES[2], NODES[1], NODES[3]], EDGES)
    assert places_of(drawn(other)) == places_of(drawn(WALK))


def places_of(picture: ET.Element) -> set[tuple[str | None, str | None, str | None]]:
    return {(each.get("x"), each.get("y"), each.text) for each in picture.iter(f"{SVG}text")}


@pytest.mark.parametrize(
    "hostile",
    [
        "</text><script>alert(1)</script>",
        '" onload="alert(1)',
        "]]><!--",
        "&lt;b&gt; &amp;",
        "control \x00\x01\x1b characters and \ud800",
        "]]>\u202e\ufffe",
        "w" * 5000,
    ],
)
def test_texts_are_texts_and_never_markup(hostile: str) -> None:
    nodes = [NodeMet(1, hostile, hostile, {"title": hostile}, 0), NodeMet(2, "Tool", hostile, {"name": [hostile]}, 1)]
    picture = ET.fromstring(as_svg(Walk(nodes, [EdgeTaken(1, hostile, 2, {})]), hostile))
    tags = {each.tag.removeprefix(SVG) for each in picture.iter()}
    assert tags <= {"svg", "title", "rect", "g", "text", "path"}
    allowed = {
        "role",
        "width",
        "height",
        "viewBox",
        "x",
        "y",
        "rx",
        "d",
        "text-anchor",
        "fill",
        "stroke",
        "stroke-width",
    }
    allowed |= {"font-family", "font-size", "text-anchor"}
    assert {name for each in picture.iter() for name in each.attrib} <= allowed
    assert all(len(text) <= 30 for text in texts(picture))


def test_nothing_and_a_circle_can_be_drawn() -> None:
    assert texts(drawn(Walk())) == []
    circle = Walk([NodeMet(1, "Concept", "a", {}, 0)], [EdgeTaken(1, "RELATED_TO", 1, {})])
    assert texts(drawn(circle)) == ["RELATED_TO →", "Concept", "a"]


def test_json_says_what_the_picture_shows() -> None:
    told = as_json(Walk(NODES[:2], EDGES[:1], cut=True))
    assert told["nodes"][1] == {"id": 2, "kind": "Tool", "key": "search", "properties": {}, "depth": 1}
    assert told["edges"] == [{"from": 3, "kind": "USES", "to": 2, "properties": {"step": 1}}]
    assert told["cut"]


def test_people_read_titles_and_the_ends_of_ids() -> None:
    assert [label(each) for each in NODES] == ["Search, then keep", "search", "timeout", "…456789ff"]
