"""The MCP server in front of the real front, spoken with by the reference client in both eras of the protocol."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from umbel_client.mcp.server import http_app

from config.settings import Settings
from local.ports import free_port
from tests.web.conftest import ROOT, Caller, Front, account, front, other_account
from worker.engine import Engine
from worker.testing import running_engine
from worker.workflows import WORKFLOWS

__all__ = ["Caller", "Front", "account", "front", "other_account"]
ERAS = ("legacy", "auto")


@dataclass
class Talk:
    """A client's connection, and the progress it was told of."""

    client: Client
    told: list[str] = field(default_factory=list)

    async def __call__(self, tool: str, **arguments: Any) -> Any:
        """What a tool answers."""
        answer = await self.client.call_tool(tool, arguments, progress_callback=self._progressed)
        assert not answer.is_error, answer.content
        return answer.structured_content

    async def refused(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The error a tool answers with."""
        answer = await self.client.call_tool(tool, arguments)
        assert answer.is_error
        content: Any = answer.content[0]
        return dict(json.loads(content.text))

    async def _progressed(self, progress: float, total: float | None, message: str | None) -> None:
        assert progress == len(self.told) + 1
        self.told.append(message or "")


@asynccontextmanager
async def serving(url: str, **options: Any) -> AsyncIterator[str]:
    """The address of an MCP server for the API at `url`."""
    port = free_port()
    app = http_app(url, **options)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws="none", access_log=False))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{port}/mcp"
    server.should_exit = True
    await running


@pytest.fixture
async def url(front: Front) -> AsyncIterator[str]:
    async with serving(front.url, origins=["https://pages.example"]) as address:
        yield address


Dial = Callable[..., AbstractAsyncContextManager[Talk]]


@pytest.fixture
def over_http(url: str) -> Dial:
    @asynccontextmanager
    async def dial(key: str, era: Any = "auto") -> AsyncIterator[Talk]:
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=40) as http:
            async with Client(streamable_http_client(url, http_client=http), mode=era) as made:
                yield Talk(made)

    return dial


@pytest.fixture
def over_stdio(front: Front) -> Dial:
    @asynccontextmanager
    async def dial(key: str, era: Any = "auto") -> AsyncIterator[Talk]:
        environment = {"UMBEL_URL": front.url, "UMBEL_API_KEY": key, "PATH": os.environ["PATH"]}
        command = ["-m", "umbel_client", "mcp", "--stdio"]
        program = StdioServerParameters(command=sys.executable, args=command, env=environment, cwd=ROOT)
        async with Client(stdio_client(program), mode=era) as made:
            yield Talk(made)

    return dial


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    async with running_engine(settings, WORKFLOWS) as engine:
        yield engine
