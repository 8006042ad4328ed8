"""A stand-in of E2B, built from its client's own server classes. Its machines are sandboxes of this machine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from e2b.envd.client_shared import ENVD_JSON_CODEC
from e2b.envd.process.process_connect import Process, ProcessASGIApplication
from e2b.envd.process.process_pb import ProcessEvent, StartRequest, StartResponse
from protobuf import Oneof
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from worker.sandboxes.base import MIB, Backend, Job, Limits, Stream, Wanted
from worker.sandboxes.local import LocalSandbox

KEY = "e2b_" + "0" * 40
#: Larger than what runs in the machines is given: it is not these that are tested.
ROOMY = Limits(wall_s=120, cpu_s=120, memory=1024 * MIB, output=64 * MIB, processes=128)


@dataclass
class StandIn(Process):
    """Machines, and what they were asked for."""

    backend: Backend
    url: str = ""
    machines: dict[str, LocalSandbox] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    leases: list[int] = field(default_factory=list)
    as_root: list[str] = field(default_factory=list)

    async def create(self, request: Request) -> Response:
        if request.headers.get("X-API-KEY") != KEY:
            return JSONResponse({"code": 401, "message": "wrong key"}, 401)
        asked = await request.json()
        made = await self.backend.create(Wanted(ROOMY))
        assert isinstance(made, LocalSandbox)
        name = f"i{len(self.asked)}"
        self.machines[name] = made
        self.asked.append(asked)
        about = {"sandboxID": name, "templateID": "base", "clientID": "c"}
        return JSONResponse(about | {"envdVersion": "0.6.4", "envdAccessToken": f"token-{name}"}, 201)

    async def listed(self, request: Request) -> Response:
        return JSONResponse([self._about(name) for name in self.machines])

    def _about(self, name: str) -> dict[str, Any]:
        when = {"startedAt": "2026-01-01T00:00:00Z", "endAt": "2030-01-01T00:00:00Z"}
        size = {"cpuCount": 1, "memoryMB": 512, "diskSizeMB": 512, "envdVersion": "0.6.4", "state": "running"}
        metadata = self.asked[int(name[1:])].get("metadata", {})
        return {"sandboxID": name, "templateID": "base", "clientID": "c", "metadata": metadata, **when, **size}

    async def kill(self, request: Request) -> Response:
        machine = self.machines.pop(request.path_params["name"], None)
        if machine is None:
            return JSONResponse({"code": 404, "message": "no such machine"}, 404)
        await machine.destroy()
        return Response(status_code=204)

    async def lease(self, request: Request) -> Response:
        self.leases.append((await request.json())["timeout"])
        return Response(status_code=204)

    async def health(self, request: Request) -> Response:
        return Response(status_code=204 if self._machine(request.headers) else 502)

    async def write(self, request: Request) -> Response:
        machine, path = self._machine(request.headers), request.query_params["path"]
        assert machine is not None
        if not request.headers["content-type"].startswith("multipart/"):
            content = await request.body()
        else:
            async with request.form(max_part_size=64 * MIB) as form:
                content = await next(iter(form.values())).read()  # type: ignore[union-attr]
        done = await machine.run(Job(argv=["/bin/sh", "-c", 'cat > "$1"', "sh", path], stdin=content))
        assert done.code == 0, done.stderr
        return JSONResponse([{"path": path, "name": path.rpartition("/")[2], "type": "file"}])

    def _machine(self, headers: Any) -> LocalSandbox | None:
        name = headers.get("E2b-Sandbox-Id")
        assert headers.get("X-Access-Token") in (None, f"token-{name}")
        return self.machines.get(name)

    async def start(self, request: StartRequest, ctx: Any) -> AsyncIterator[StartResponse]:
        """Run a command; what only root of a machine can do is there already."""
        machine = self._machine(ctx.request_headers)
        if machine is None:
            raise ConnectError(Code.UNAVAILABLE, "no such machine")
        assert request.process is not None
        argv = [request.process.cmd, *request.process.args]
        yield _event("start", ProcessEvent.StartEvent(pid=7))
        if ctx.request_headers.get("authorization", "").startswith("Basic cm9vdD"):  # root:
            self.as_root.append(argv[-1])
            yield _ended(0)
            return
        told: asyncio.Queue[tuple[Stream, bytes] | None] = asyncio.Queue()
        job = Job(argv=argv, env=dict(request.process.envs))
        running = asyncio.create_task(machine.run(job, lambda stream, piece: told.put_nowait((stream, piece))))
        running.add_done_callback(lambda _: told.put_nowait(None))
        while piece := await told.get():
            output = Oneof(field=piece[0].value, value=piece[1])
            yield _event("data", ProcessEvent.DataEvent(output=output))  # type: ignore[arg-type]
        if running.exception() is None:
            yield _ended(running.result().code)

    def app(self) -> Starlette:
        process = ProcessASGIApplication(self, codecs=[ENVD_JSON_CODEC])
        routes = [
            Route("/v2/sandboxes", self.create, methods=["POST"]),
            Route("/v2/sandboxes", self.listed, methods=["GET"]),
            Route("/sandboxes/{name}", self.kill, methods=["DELETE"]),
            Route("/sandboxes/{name}/timeout", self.lease, methods=["POST"]),
            Route("/health", self.health),
            Route("/files", self.write, methods=["POST"]),
            Mount("/", process),
        ]
        return Starlette(routes=routes)


def _event(kind: str, value: Any) -> StartResponse:
    return StartResponse(event=ProcessEvent(event=Oneof(field=kind, value=value)))  # type: ignore[arg-type]


def _ended(code: int) -> StartResponse:
    return _event("end", ProcessEvent.EndEvent(exit_code=code, exited=True, status=f"exit status {code}"))


@contextlib.asynccontextmanager
async def standing_in(backend: Backend) -> AsyncIterator[StandIn]:
    """Serve the stand-in; its machines end with it."""
    standin = StandIn(backend)
    config = uvicorn.Config(standin.app(), port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    standin.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield standin
    finally:
        for machine in standin.machines.values():
            await machine.destroy()
        server.should_exit = True
        await serving
