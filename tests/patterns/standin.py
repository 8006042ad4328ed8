"""A stand-in of a Qdrant server: its REST paths that we use, answered by the engine inside qdrant-client.

What has no handler is answered with 501, never with a made-up success.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from qdrant_client import AsyncQdrantClient
from qdrant_client import models as wire
from qdrant_client.http.models import CreateCollection, PointsList, QueryRequest

from tests.patterns.conftest import KEY


class QdrantStandIn:
    """Serves `engine` on loopback. `failing`: the status it answers everything with, 0 for none."""

    def __init__(self) -> None:
        self.engine = AsyncQdrantClient(":memory:")
        self.failing = 0
        self._app = web.Application(client_max_size=64 * 1024 * 1024)
        routes = {
            ("GET", "/collections"): self._collections,
            ("GET", "/aliases"): self._aliases,
            ("POST", "/collections/aliases"): self._change,
            ("GET", "/collections/{name}/exists"): self._exists,
            ("PUT", "/collections/{name}"): self._create,
            ("DELETE", "/collections/{name}"): self._drop,
            ("PUT", "/collections/{name}/index"): self._index,
            ("PUT", "/collections/{name}/points"): self._upsert,
            ("POST", "/collections/{name}/points/query"): self._query,
            ("POST", "/collections/{name}/points/count"): self._count,
            ("POST", "/collections/{name}/points/delete"): self._delete,
        }
        for (method, path), handler in routes.items():
            self._app.router.add_route(method, path, self._answering(handler))
        self._app.router.add_route("*", "/{rest:.*}", self._unknown)
        self._server = TestServer(self._app)

    async def __aenter__(self) -> "QdrantStandIn":
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()
        await self.engine.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def _answering(self, handler: Callable[[str, Any], Awaitable[Any]]) -> Any:
        async def answer(request: web.Request) -> web.Response:
            if request.headers.get("api-key") != KEY:
                return web.json_response({"status": {"error": "Invalid API key"}}, status=401)
            if self.failing:
                return web.json_response({"status": {"error": "told to"}}, status=self.failing)
            body = await request.json() if request.can_read_body else None
            try:
                result = await handler(request.match_info.get("name", ""), body)
            except ValueError as error:  # the engine's "not found", and its complaints
                status = 404 if "not found" in str(error) else 409 if "exists" in str(error) else 400
                return web.json_response({"status": {"error": str(error)}}, status=status)
            result = result.model_dump(mode="json") if hasattr(result, "model_dump") else result
            return web.json_response({"status": "ok", "time": 0, "result": result})

        return answer

    async def _unknown(self, request: web.Request) -> web.Response:
        return web.json_response({"status": {"error": "not played"}}, status=501)

    async def _collections(self, name: str, body: Any) -> Any:
        return await self.engine.get_collections()

    async def _aliases(self, name: str, body: Any) -> Any:
        return await self.engine.get_aliases()

    async def _change(self, name: str, body: Any) -> Any:
        actions = wire.ChangeAliasesOperation.model_validate(body).actions
        return await self.engine.update_collection_aliases(actions)

    async def _exists(self, name: str, body: Any) -> Any:
        return {"exists": await self.engine.collection_exists(name)}

    async def _create(self, name: str, body: Any) -> Any:
        wanted = CreateCollection.model_validate(body)
        return await self.engine.create_collection(name, vectors_config=wanted.vectors)

    async def _drop(self, name: str, body: Any) -> Any:
        return await self.engine.delete_collection(name)

    async def _index(self, name: str, body: Any) -> Any:
        wire.CreateFieldIndex.model_validate(body)
        return {"operation_id": 0, "status": "completed"}

    async def _upsert(self, name: str, body: Any) -> Any:
        return await self.engine.upsert(name, PointsList.model_validate(body).points)

    async def _query(self, name: str, body: Any) -> Any:
        asked = QueryRequest.model_validate(body)
        return await self.engine.query_points(name, query=asked.query, query_filter=asked.filter, limit=asked.limit)

    async def _count(self, name: str, body: Any) -> Any:
        return await self.engine.count(name, wire.CountRequest.model_validate(body).filter)

    async def _delete(self, name: str, body: Any) -> Any:
        return await self.engine.delete(name, wire.FilterSelector.model_validate(body))
