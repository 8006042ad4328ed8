"""Large or binary results of tools are kept as artifacts; what is recorded and told refers to them."""

import asyncio
import json
import mimetypes
from collections.abc import Sequence
from typing import Any

from config.known import known_to
from worker.errors import StepFailed
from worker.tools.base import Attachment, ToolCall, ToolResult
from worker.tools.middleware import Middleware
from worker.tools.redact import redact

#: A result longer than this, in characters of its text or its JSON, is kept whole beside its beginning.
LARGE = 64 * 1024
_TYPES = {"image": "image", "video": "video", "text/html": "web", "application/json": "data"}


class Keep(Middleware):
    """Keeps what a result can't carry, where the call belongs to a run; elsewhere that is cut as ever."""

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """Keep attachments, and the whole of a large result; the artifacts are named in it."""
        if call.keep is None:
            return result
        attached = list(result.files)
        whole = await asyncio.to_thread(_whole, result, known_to(call.account_id))
        if whole is not None:
            attached.append(whole)
        refs = [await self._kept(call, number, each) for number, each in enumerate(attached, start=1)]
        data = result.data
        for each, ref in zip(attached, refs, strict=True):
            if each.part is not None and "artifact_id" in ref:
                data = _instead(data, each.part, ref["artifact_id"])
        return result.model_copy(update={"data": data, "artifacts": refs, "files": []})

    async def _kept(self, call: ToolCall, number: int, each: Attachment) -> dict[str, Any]:
        assert call.keep is not None
        suffix = mimetypes.guess_extension(each.media_type) or ""
        try:
            ref = await call.keep(number, suffix, artifact_type(each.media_type), each)
        except StepFailed as error:  # the tool has had its effect; that its result can't be kept undoes nothing
            return {"media_type": each.media_type, "omitted": error.code}
        return {name: ref[name] for name in ("artifact_id", "name", "type", "version", "media_type", "size")}


def artifact_type(media_type: str) -> str:
    """Return the type of artifact that content of a media type is."""
    return _TYPES.get(media_type) or _TYPES.get(media_type.partition("/")[0]) or "document"


def _whole(result: ToolResult, secrets: Sequence[str]) -> Attachment | None:
    """Return a result that is too large to record, with its secrets masked."""
    if result.kind == "text":
        text = result.text or ""
        return Attachment("text/plain", redact(text, secrets).encode(errors="replace")) if len(text) > LARGE else None
    if len(_json(result.data)) <= LARGE:
        return None
    return Attachment("application/json", _json(redact(result.data, secrets)).encode(errors="replace"))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _instead(data: Any, part: int, artifact_id: str) -> Any:
    """Put the artifact's id where the bytes of a part were."""
    changed = list(data)
    left = {name: value for name, value in changed[part].items() if name not in ("data", "omitted")}
    changed[part] = left | {"artifact_id": artifact_id}
    return changed
