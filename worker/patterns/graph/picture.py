"""What a walk came to as JSON, and as a picture: SVG in columns by distance, the same for the same walk.

Texts in it come from runs: they are put into XML as text, shortened, and never as markup, style or address. There is
no script in it and nothing is loaded from elsewhere.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from models.repositories.graph_walks import NodeMet, Walk

COLUMN, ROW, WIDTH, HEIGHT, MARGIN = 300, 46, 190, 34, 20
TEXT_MAX = 26
#: Readable on white and on black.
COLOURS: Mapping[str, str] = {
    "Pattern": "#7c5cd6", "Tool": "#2f81c7", "ErrorClass": "#cf4a4a", "Concept": "#2e9160", "Run": "#8a7a3d",
    "Task": "#b0672a", "Session": "#5f7f8c", "User": "#a34f86", "Artifact": "#4d8f8f",
}  # fmt: skip
#: As attributes, for a page may forbid style sheets within it.
_NAMED = {"font-family": "system-ui, sans-serif", "font-size": "12", "fill": "#24292f"}
_SMALL = _NAMED | {"font-size": "9", "fill": "#57606a"}
_LINE = {"fill": "none", "stroke": "#8c959f", "stroke-width": "1.2"}
_UNFIT_FOR_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def as_json(walk: Walk) -> dict[str, Any]:
    """Return a walk as JSON.

    `nodes` have `id`, `kind`, `key`, `depth` and `properties`; `edges` have `from`, `kind`, `to` and `properties`;
    `cut` tells whether there was more.
    """
    edges = [{"from": left, "kind": kind, "to": right, "properties": told} for left, kind, right, told in walk.edges]
    return {"nodes": [node._asdict() for node in walk.nodes], "edges": edges, "cut": walk.cut}


def as_svg(walk: Walk, title: str) -> str:
    """Return the picture: starts on the left, each column one edge farther away."""
    places = _places(walk)
    deepest = max((node.depth for node in walk.nodes), default=0)
    rows = max((y for _, y in places.values()), default=MARGIN) + HEIGHT + MARGIN
    size = {"width": str(deepest * COLUMN + WIDTH + 2 * MARGIN), "height": str(rows)}
    page = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **size})
    page.set("viewBox", f"0 0 {size['width']} {size['height']}")
    _text(page, "title", title, most=200)
    ET.SubElement(page, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    for left, kind, right, _ in walk.edges:
        _draw_edge(page, places[left], kind, places[right])
    for node in walk.nodes:
        _draw_node(page, node, places[node.id])
    return ET.tostring(page, encoding="unicode")


def _places(walk: Walk) -> dict[int, tuple[int, int]]:
    """Return the left upper corner of every node's box; nodes stand beside what they are tied to, where they can."""
    columns: defaultdict[int, list[NodeMet]] = defaultdict(list)
    for node in walk.nodes:
        columns[node.depth].append(node)
    tallest = max(map(len, columns.values()), default=0)
    places: dict[int, tuple[int, int]] = {}
    for depth, nodes in sorted(columns.items()):
        top = MARGIN + (tallest - len(nodes)) * ROW // 2
        order = sorted(nodes, key=lambda node: (_middle(node.id, walk, places), node.kind, node.key))
        places |= {node.id: (MARGIN + depth * COLUMN, top + row * ROW) for row, node in enumerate(order)}
    return places


def _middle(id: int, walk: Walk, places: Mapping[int, tuple[int, int]]) -> float:
    """Return how far down the middle of a node's neighbours is, of those that have a place."""
    ends = [
        edge.to_id if edge.from_id == id else edge.from_id for edge in walk.edges if id in (edge.from_id, edge.to_id)
    ]
    heights = [places[end][1] for end in ends if end in places]
    return sum(heights) / len(heights) if heights else 0.0


def _draw_node(page: ET.Element, node: NodeMet, corner: tuple[int, int]) -> None:
    x, y = corner
    group = ET.SubElement(page, "g")
    _text(group, "title", f"{node.kind} {node.key}", most=400)
    box = {"x": str(x), "y": str(y), "width": str(WIDTH), "height": str(HEIGHT), "rx": "6"}
    line = {"fill": "#ffffff", "stroke": COLOURS.get(node.kind, "#6e7781"), "stroke-width": "1.5"}
    ET.SubElement(group, "rect", box | line)
    _text(group, "text", node.kind, _SMALL | {"x": str(x + 8), "y": str(y + 12)})
    _text(group, "text", label(node), _NAMED | {"x": str(x + 8), "y": str(y + 27)})


def _draw_edge(page: ET.Element, left: tuple[int, int], kind: str, right: tuple[int, int]) -> None:
    """Draw from box to box; the kind stands at the farther column's end, with an arrow the way it is read."""
    (near, far), outward = ((left, right), True) if left[0] <= right[0] else ((right, left), False)
    middle = HEIGHT // 2
    x1, y1, y2 = near[0] + WIDTH, near[1] + middle, far[1] + middle
    if near[0] == far[0]:  # in one column: a bow on its right
        path = f"M{x1} {y1} C{x1 + 40} {y1} {x1 + 40} {y2} {x1} {y2}"
        label_x, label_y, anchor = x1 + 32, (y1 + y2) // 2, "start"
    else:
        bend = (far[0] - x1) // 2
        path = f"M{x1} {y1} C{x1 + bend} {y1} {far[0] - bend} {y2} {far[0]} {y2}"
        label_x, label_y, anchor = far[0] - 4, y2 - 3, "end"
    ET.SubElement(page, "path", _LINE | {"d": path})
    place = {"x": str(label_x), "y": str(label_y), "text-anchor": anchor}
    _text(page, "text", f"{kind} →" if outward else f"← {kind}", _SMALL | place)


def label(node: NodeMet) -> str:
    """Return what a person calls a node: its title or name, else its key, of which an id's end is enough."""
    named = next((node.properties[name] for name in ("title", "name") if node.properties.get(name)), None)
    if named is not None:
        return str(named)
    return f"…{node.key[-8:]}" if _ID.fullmatch(node.key) else node.key


def _text(
    parent: ET.Element, tag: str, text: str, attributes: Mapping[str, str] | None = None, most: int = TEXT_MAX
) -> None:
    clean = " ".join(_UNFIT_FOR_XML.sub("\ufffd", text).split())
    ET.SubElement(parent, tag, dict(attributes or {})).text = clean if len(clean) <= most else f"{clean[: most - 1]}…"
