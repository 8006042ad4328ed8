"""What tools of MCP servers answer, in one shape whatever the server sent."""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mcp_types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from worker.tools.base import Attachment, ToolResult, data, text

#: An answer holds at most this many characters; what comes after is cut.
ANSWER_MAX = 1_000_000
#: Characters of base64 a model's result may hold; larger images are named, not shown.
SHOWN_MAX = 24_000

Part = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A tool's answer.

    Attributes:
        parts: in the server's order, each with a `kind`: `text` (`text`), `image` and `audio` (`mime_type`, `data` in
            base64) or `resource` (`uri`, `mime_type`, and `text` or `data` if it was embedded).
        data: the structured content, any JSON value; None if there is none.
        failed: whether the tool says that it failed.
        truncated: whether the size cap left something out.
    """

    parts: list[Part] = field(default_factory=list)
    data: Any = None
    failed: bool = False
    truncated: bool = False

    @property
    def text(self) -> str:
        """All text of the answer, in order."""
        return "\n".join(part["text"] for part in self.parts if part.get("text"))

    def as_result(self) -> ToolResult:
        """Return what is recorded and told to the model: the structured content if there is any."""
        if self.data is not None:
            result = data(self.data)
        elif all(part["kind"] == "text" for part in self.parts):
            result = text(self.text)
        else:
            result = data([_shown(part) for part in self.parts])
        attached = [] if self.data is not None else list(self._attached())
        return result.model_copy(update={"truncated": self.truncated, "files": attached})

    def _attached(self) -> Iterator[Attachment]:
        for place, part in enumerate(self.parts):
            try:
                content = base64.b64decode(part.get("data") or "", validate=True)
            except (binascii.Error, ValueError):  # not what it says it is: shown, if it is small
                continue
            if content:
                yield Attachment(str(part.get("mime_type") or "application/octet-stream")[:100], content, place)


def _shown(part: Part) -> Part:
    encoded = part.get("data")
    if encoded is None or len(encoded) <= SHOWN_MAX:
        return part
    left = {name: value for name, value in part.items() if name != "data"}
    return left | {"bytes": len(encoded) * 3 // 4, "omitted": "too large to show"}


def normal(result: CallToolResult) -> Answer:
    """Return a result in our shape, cut to `ANSWER_MAX`."""
    left, parts, truncated = ANSWER_MAX, [], False
    for part in map(_part, result.content):
        kept, cut = _fitted(part, left)
        left -= _size(kept)
        parts.append(kept)
        truncated |= cut
    structured = result.structured_content
    # Servers repeat structured content as text, so whoever wants the beginning of it still has that.
    if structured is not None and len(json.dumps(structured, default=str)) > ANSWER_MAX:
        structured, truncated = None, True
    return Answer(parts, structured, result.is_error, truncated)


def _part(block: ContentBlock) -> Part:
    if isinstance(block, TextContent):
        return {"kind": "text", "text": block.text}
    if isinstance(block, ImageContent | AudioContent):
        return {"kind": block.type, "mime_type": block.mime_type, "data": block.data}
    return dict(_resource(block))


def _resource(block: EmbeddedResource | ResourceLink) -> Iterator[tuple[str, str]]:
    resource = block if isinstance(block, ResourceLink) else block.resource
    yield "kind", "resource"
    yield "uri", str(resource.uri)
    if resource.mime_type:
        yield "mime_type", resource.mime_type
    if isinstance(resource, ResourceLink):
        yield "name", resource.name
    elif isinstance(resource, TextResourceContents):
        yield "text", resource.text
    else:
        yield "data", resource.blob


def _size(part: Part) -> int:
    return len(part.get("text") or part.get("data") or "")


def _fitted(part: Part, left: int) -> tuple[Part, bool]:
    over = _size(part) - max(left, 0)
    if over <= 0:
        return part, False
    if "text" in part:
        return part | {"text": part["text"][: max(len(part["text"]) - over, 0)]}, True
    # Half an image is none.
    return {name: value for name, value in part.items() if name != "data"} | {"omitted": "too large"}, True
