"""What most people would write for `stream`: uvicorn and Starlette, one shared Redis subscription, a queue per socket.

It keeps no record and checks no key; it hands on what Redis says, and nothing is sent again.
Arguments: port, Redis URL.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import redis.asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

QUEUE = 256
HELLO = '{"type": "subscribed"}'

queues: dict[bytes, set[asyncio.Queue[str]]] = {}


async def listen(url: str) -> None:
    """Hand every message to the queues of its channel."""
    client = redis.asyncio.Redis.from_url(url)
    pubsub = client.pubsub()
    await pubsub.psubscribe("umbel:task:*")
    async for message in pubsub.listen():
        if message["type"] == "pmessage":
            text = message["data"].decode()
            for queue in queues.get(message["channel"], ()):
                if not queue.full():
                    queue.put_nowait(text)


async def stream(socket: WebSocket) -> None:
    """Send one channel's messages until the client leaves."""
    await socket.accept()
    channel = f"umbel:task:{socket.path_params['task_id']}".encode()
    queue: asyncio.Queue[str] = asyncio.Queue(QUEUE)
    queues.setdefault(channel, set()).add(queue)
    try:
        await socket.send_text(HELLO)
        while True:
            await socket.send_text(await queue.get())
    except WebSocketDisconnect:
        pass
    finally:
        queues[channel].discard(queue)
        if not queues[channel]:
            del queues[channel]


async def healthz(_: object) -> PlainTextResponse:
    """Answer."""
    return PlainTextResponse("ok")


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Listen to Redis for as long as the application runs."""
    listening = asyncio.create_task(listen(sys.argv[2]))
    yield
    listening.cancel()


app = Starlette(
    routes=[WebSocketRoute("/v1/tasks/{task_id}/stream", stream), Route("/healthz", healthz)], lifespan=lifespan
)

if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", log_level="warning", access_log=False,
        ws_per_message_deflate=False, ws_ping_interval=30.0, backlog=2048,
    )  # fmt: skip
