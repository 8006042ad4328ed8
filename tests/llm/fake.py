"""A provider of our own: speaks Chat Completions, Responses and Messages, whole and streamed, with faults on demand.

The real SDKs talk to it over real sockets. What it is to do next is put into `script`; afterwards, or without a
script, it says `DEFAULT`.
"""

import asyncio
import base64
import json
import struct
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

TEXT = "hello from a provider that talks for quite a while"
SIGNATURE = "signed-by-the-fake-provider"
INPUT, CACHED, OUTPUT, REASONING = 100, 40, 20, 8


@dataclass(frozen=True)
class Say:
    """Answers with this text, in pieces of a word when streaming."""

    text: str = TEXT
    thought: str = ""


@dataclass(frozen=True)
class Vectors:
    """Answers with vectors of this dimension: so many too few, as plain numbers, uncounted, one with this number."""

    dimension: int = 4
    missing: int = 0
    plain: bool = False
    counted: bool = True
    number: Any = None


@dataclass(frozen=True)
class CallTool:
    """Answers with a tool call."""

    tool: str
    args: dict[str, Any]
    thought: str = ""


@dataclass(frozen=True)
class Status:
    """Refuses."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    code: str | None = None
    message: str = "no"


@dataclass(frozen=True)
class Drop:
    """Closes the connection: before any answer, or after some events of it, as a dead server or as a hasty one."""

    after: int | None = None
    politely: bool = False


@dataclass(frozen=True)
class Hang:
    """Sends nothing more: at all, or after some events."""

    after: int | None = None


@dataclass(frozen=True)
class Malformed:
    """Sends what is no event, or no JSON, after some events."""

    after: int = 0


@dataclass(frozen=True)
class Huge:
    """Sends this many bytes."""

    size: int


@dataclass(frozen=True)
class ErrorEvent:
    """Reports an error inside a stream that began well."""

    after: int


Deed = Vectors | Say | CallTool | Status | Drop | Hang | Malformed | Huge | ErrorEvent
DEFAULT = Say()
Event = tuple[str | None, Any]


@dataclass
class Seen:
    """A request that came in."""

    wire: str
    key: str
    body: dict[str, Any]
    headers: dict[str, str]


class FakeProvider:
    """The server; use it as an async context manager."""

    def __init__(self) -> None:
        self.script: deque[Deed] = deque()
        self.by_key: dict[str, Deed] = {}
        self.headers: dict[str, dict[str, str]] = {}  # of answers, by key
        self.seen: list[Seen] = []
        self.gone = asyncio.Event()
        self.reached = asyncio.Event()
        self.url = ""

    async def __aenter__(self) -> "FakeProvider":
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.on_response_prepare.append(self._add_headers)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/embeddings", self._embeddings)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def keys(self) -> list[str]:
        """The key of each request, in order."""
        return [each.key for each in self.seen]

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self.headers.get(key_of(request), {}))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, "chat", chat_events, chat_whole)

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, "responses", responses_events, responses_whole)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, "messages", messages_events, messages_whole)

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return await self._serve(request, "embeddings", None, partial(embeddings_whole, body=body))

    async def _serve(self, request: web.Request, wire: str, events: Any, whole: Any) -> web.StreamResponse:
        body = await request.json()
        key = key_of(request)
        self.seen.append(Seen(wire, key, body, dict(request.headers)))
        deed = self.by_key.get(key) or (self.script.popleft() if self.script else DEFAULT)
        self.reached.set()
        try:
            if isinstance(deed, Status):
                return refusal(deed, wire)
            if isinstance(deed, Drop | Hang) and deed.after is None:
                return await self._no_answer(request, deed)
            if body.get("stream"):
                return await self._stream(request, deed, events(deed, body["model"]))
            return self._whole(deed, whole, body)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise

    async def _no_answer(self, request: web.Request, deed: Deed) -> web.StreamResponse:
        if isinstance(deed, Hang):
            await asyncio.sleep(3600)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def _whole(self, deed: Deed, whole: Any, body: dict[str, Any]) -> web.Response:
        if isinstance(deed, Huge):
            return web.json_response(whole(Say("x" * deed.size), body["model"]))
        if isinstance(deed, Malformed):
            return web.Response(text='{"id": "half', content_type="application/json")
        return web.json_response(whole(deed, body["model"]))

    async def _stream(self, request: web.Request, deed: Deed, events: list[Event]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if isinstance(deed, Drop) and deed.politely:
            response.force_close()
        await response.prepare(request)
        after = getattr(deed, "after", None)
        for at, (name, data) in enumerate(events):
            if at == after:
                await self._fault(request, response, deed)
                return response
            head = f"event: {name}\n" if name else ""
            await response.write(f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode())
        return response

    async def _fault(self, request: web.Request, response: web.StreamResponse, deed: Deed) -> None:
        if isinstance(deed, Hang):
            await asyncio.sleep(3600)
        elif isinstance(deed, Malformed):
            await response.write(b'event: message_delta\ndata: {"half": \n\n')
        elif isinstance(deed, ErrorEvent):
            error = {
                "type": "error",
                "error": {"type": "overloaded_error", "message": "too much", "code": "server_error"},
            }
            await response.write(f"event: error\ndata: {json.dumps(error)}\n\n".encode())
        elif isinstance(deed, Drop) and not deed.politely:
            assert request.transport is not None
            request.transport.abort()


def key_of(request: web.Request) -> str:
    return request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")


def refusal(deed: Status, wire: str) -> web.Response:
    inner = {"type": deed.code or "invalid_request_error", "message": deed.message}
    if wire == "messages":
        body: dict[str, Any] = {"type": "error", "error": inner}
    else:
        body = {"error": inner | {"code": deed.code, "param": None}}
    return web.json_response(body, status=deed.status, headers=deed.headers)


def words(deed: Deed) -> list[str]:
    text = deed.text if isinstance(deed, Say) else "x" * deed.size if isinstance(deed, Huge) else TEXT
    pieces = text.split(" ")
    return [*(f"{each} " for each in pieces[:-1]), pieces[-1]]


# Chat Completions


def chat_usage() -> dict[str, Any]:
    return {
        "prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT,
        "prompt_tokens_details": {"cached_tokens": CACHED},
        "completion_tokens_details": {"reasoning_tokens": REASONING},
    }  # fmt: skip


def chat_whole(deed: Deed, model: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(words(deed))}
    if isinstance(deed, CallTool):
        call = {"name": deed.tool, "arguments": json.dumps(deed.args)}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": call}],
        }
    ended = "tool_calls" if isinstance(deed, CallTool) else "stop"
    choices = [{"index": 0, "message": message, "finish_reason": ended}]
    return {
        "id": "x1", "object": "chat.completion", "created": 1, "model": model, "choices": choices,
        "usage": chat_usage(),
    }  # fmt: skip


def chat_events(deed: Deed, model: str) -> list[Event]:
    def chunk(delta: dict[str, Any], ended: str | None = None) -> Event:
        choices = [{"index": 0, "delta": delta, "finish_reason": ended}]
        return None, {"id": "x1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices}

    thought = getattr(deed, "thought", "")
    if isinstance(deed, CallTool):
        call = {"name": deed.tool, "arguments": json.dumps(deed.args)}
        said = [chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": call}]})]
    else:
        said = [chunk({"content": each}) for each in words(deed)]
    usage = {"id": "x1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": []}
    ended = "tool_calls" if isinstance(deed, CallTool) else "stop"
    thinking = [chunk({"reasoning_content": thought})] if thought else []
    return [*thinking, *said, chunk({}, ended), (None, usage | {"usage": chat_usage()}), (None, "[DONE]")]


# Embeddings


def embeddings_whole(deed: Deed, model: str, body: dict[str, Any]) -> dict[str, Any]:
    """Vectors that tell which text they are of: its length, then its place; in the wrong order."""
    wanted = deed if isinstance(deed, Vectors) else Vectors(body.get("dimensions") or 4)
    data = []
    for index, text in enumerate(body["input"][: len(body["input"]) - wanted.missing]):
        vector = [float(len(text)), float(index), *[0.5] * (wanted.dimension - 2)]
        if wanted.number is not None:
            vector[-1] = wanted.number
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if not wanted.plain else vector
        data.append({"object": "embedding", "index": index, "embedding": packed})
    usage = {"prompt_tokens": len(data), "total_tokens": len(data)}
    told = {"object": "list", "model": model, "data": data[::-1]}
    return told | ({"usage": usage} if wanted.counted else {})


# Responses


def responses_whole(deed: Deed, model: str, status: str = "completed") -> dict[str, Any]:
    text = {"type": "output_text", "text": "".join(words(deed)), "annotations": []}
    item: dict[str, Any] = {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    if isinstance(deed, CallTool):
        item = {
            "id": "f1", "type": "function_call", "call_id": "c1", "name": deed.tool,
            "arguments": json.dumps(deed.args), "status": "completed",
        }  # fmt: skip
    usage = {
        "input_tokens": INPUT, "output_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT,
        "input_tokens_details": {"cached_tokens": CACHED}, "output_tokens_details": {"reasoning_tokens": REASONING},
    }  # fmt: skip
    return {
        "id": "r1", "object": "response", "created_at": 1, "model": model, "status": status, "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "output": [item], "tools": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "temperature": 1, "top_p": 1, "usage": usage,
    }  # fmt: skip


def responses_events(deed: Deed, model: str) -> list[Event]:
    whole = responses_whole(deed, model)
    begun = responses_whole(deed, model, "in_progress") | {"output": [], "usage": None}
    (item,) = whole["output"]
    told: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    if isinstance(deed, CallTool):
        told.append({"type": "response.output_item.added", "output_index": 0, "item": item | {"arguments": ""}})
        arguments = {"item_id": "f1", "output_index": 0}
        told.append({"type": "response.function_call_arguments.delta", "delta": item["arguments"], **arguments})
        told.append({"type": "response.function_call_arguments.done", "arguments": item["arguments"], **arguments})
    else:
        told.append({"type": "response.output_item.added", "output_index": 0, "item": item | {"content": []}})
        at = {"item_id": "m1", "output_index": 0, "content_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": []}
        told.append({"type": "response.content_part.added", "part": empty, **at})
        told += [{"type": "response.output_text.delta", "delta": each, "logprobs": [], **at} for each in words(deed)]
        told.append({"type": "response.output_text.done", "text": "".join(words(deed)), "logprobs": [], **at})
    told.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    told.append({"type": "response.completed", "response": whole})
    return [(each["type"], each | {"sequence_number": number}) for number, each in enumerate(told)]


# Messages


def messages_whole(deed: Deed, model: str) -> dict[str, Any]:
    content: dict[str, Any] = {"type": "text", "text": "".join(words(deed))}
    if isinstance(deed, CallTool):
        content = {"type": "tool_use", "id": "c1", "name": deed.tool, "input": deed.args}
    usage = {
        "input_tokens": INPUT - CACHED, "output_tokens": OUTPUT,
        "cache_read_input_tokens": CACHED, "cache_creation_input_tokens": 0,
    }  # fmt: skip
    thought = getattr(deed, "thought", "")
    thinking = [{"type": "thinking", "thinking": thought, "signature": SIGNATURE}] if thought else []
    return {
        "id": "m1", "type": "message", "role": "assistant", "model": model, "content": [*thinking, content],
        "usage": usage,
        "stop_reason": "tool_use" if isinstance(deed, CallTool) else "end_turn", "stop_sequence": None,
    }  # fmt: skip


def messages_events(deed: Deed, model: str) -> list[Event]:
    whole = messages_whole(deed, model)
    *thinking, content = whole["content"]
    begun = whole | {"content": [], "stop_reason": None, "usage": whole["usage"] | {"output_tokens": 1}}
    told: list[dict[str, Any]] = [{"type": "message_start", "message": begun}]
    told += [each for block in thinking for each in thinking_events(block)]
    index = len(thinking)
    if isinstance(deed, CallTool):
        told.append({"type": "content_block_start", "index": index, "content_block": content | {"input": {}}})
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(deed.args)}]
    else:
        told.append({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}})
        deltas = [{"type": "text_delta", "text": each} for each in words(deed)]
    told += [{"type": "content_block_delta", "index": index, "delta": each} for each in deltas]
    told.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    told.append({"type": "message_delta", "delta": ended, "usage": {"output_tokens": OUTPUT}})
    told.append({"type": "message_stop"})
    return [(each["type"], each) for each in told]


def thinking_events(block: dict[str, Any]) -> list[dict[str, Any]]:
    empty = block | {"thinking": "", "signature": ""}
    deltas = [
        {"type": "thinking_delta", "thinking": block["thinking"]},
        {"type": "signature_delta", "signature": block["signature"]},
    ]
    return [
        {"type": "content_block_start", "index": 0, "content_block": empty},
        *({"type": "content_block_delta", "index": 0, "delta": each} for each in deltas),
        {"type": "content_block_stop", "index": 0},
    ]


async def collected(stream: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in stream]
