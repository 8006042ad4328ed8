"""Umbel's API over one pool of connections, with a key for each call."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any

import aiohttp

from umbel_client.backoff import Backoff, retry_after_s
from umbel_client.config import is_loopback
from umbel_client.errors import ApiError, ConnectionFailed, UmbelError, UnexpectedAnswer, api_error
from umbel_client.http import RETRIED_STATUSES, USER_AGENT, problem_of, reason

#: Seconds to connect, and for each answer.
PATIENCE_S = 20.0
#: Seconds of silence on a stream of events after which whoever reads is told that there is nothing new.
SILENCE_S = 10.0
ATTEMPTS = 4
LONGEST_PAUSE_S = 5.0


class Api:
    """The server at `url`; connections are opened at first use, on the running loop."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session: aiohttp.ClientSession | None = None

    async def get(self, key: str, path: str, **params: Any) -> dict[str, Any]:
        """GET, tried again when that may help. Raises an UmbelError."""
        present = {name: str(value) for name, value in params.items() if value is not None}
        return await self._retried("GET", path, key, params=present)

    async def post(
        self, key: str, path: str, body: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """POST, tried again only under an idempotency key. Raises an UmbelError."""
        if idempotency_key is None:
            return await self._once("POST", path, key, json=body)
        return await self._retried("POST", path, key, json=body, headers={"Idempotency-Key": idempotency_key})

    async def accepts(self, key: str) -> bool:
        """Whether the key is a good one. Raises an UmbelError if the server can't say."""
        if not key.isascii() or not key.isprintable():
            return False
        try:
            await self.get(key, "/v1/approvals", limit=1)
        except ApiError as error:
            if error.status == 401:
                return False
            raise
        return True

    async def events(self, key: str, task_id: str, after: int) -> AsyncGenerator[dict[str, Any] | None, None]:
        """A task's frames after number `after`, live, until its run ends; None after every `SILENCE_S` of silence.

        Raises an UmbelError, ConnectionFailed also when the stream breaks.
        """
        headers = {**_shown(key), "Accept": "text/event-stream"}
        timeout = aiohttp.ClientTimeout(total=None, connect=PATIENCE_S)
        options: dict[str, Any] = {"params": {"after": str(after)}, "headers": headers, "timeout": timeout}
        try:
            async with self._open().get(f"{self.url}/v1/tasks/{task_id}/events", **options) as answer:
                if answer.status >= 300:
                    await _refuse(answer)
                async for frame in _frames(answer.content):
                    yield frame
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(error) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _retried(self, method: str, path: str, key: str, **options: Any) -> dict[str, Any]:
        backoff = Backoff(base_s=0.2, cap_s=LONGEST_PAUSE_S, attempts=ATTEMPTS)
        while True:
            try:
                return await self._once(method, path, key, **options)
            except UmbelError as error:
                if not worth_retrying(error):
                    raise
                await asyncio.sleep(backoff.next_pause(error))

    async def _once(self, method: str, path: str, key: str, **options: Any) -> dict[str, Any]:
        headers = {**_shown(key), **options.pop("headers", {})}
        try:
            async with self._open().request(method, self.url + path, headers=headers, **options) as answer:
                if answer.status >= 300:
                    await _refuse(answer)
                body = await _json(answer)
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(error) from error
        if not isinstance(body, dict):
            raise UnexpectedAnswer(f"{self.url} answered something that is not Umbel's.")
        return body

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # waits for tasks hold a connection each
                timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
                headers={"User-Agent": USER_AGENT},
                cookie_jar=aiohttp.DummyCookieJar(),
                # As in the rest of the client: a server on this machine is never behind a proxy.
                trust_env=not is_loopback(self.url),
            )
        return self._session

    def _lost(self, error: Exception) -> ConnectionFailed:
        return ConnectionFailed(f"No answer from Umbel at {self.url} ({reason(error)}). Try again in a moment.")


def worth_retrying(error: UmbelError) -> bool:
    """Whether the same call may work in a moment."""
    return isinstance(error, ConnectionFailed) or (isinstance(error, ApiError) and error.status in RETRIED_STATUSES)


def _shown(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def _refuse(answer: aiohttp.ClientResponse) -> None:
    problem = problem_of(answer.status, await answer.read())
    raise api_error(answer.status, problem, retry_after_s=retry_after_s(answer.headers.get("Retry-After")))


async def _json(answer: aiohttp.ClientResponse) -> Any:
    with suppress(ValueError):
        return json.loads(await answer.read())


async def _frames(content: aiohttp.StreamReader) -> AsyncGenerator[dict[str, Any] | None, None]:
    """The frames of a stream of server-sent events, as Umbel writes them: one line of data each."""
    buffer = b""
    while not content.at_eof():
        try:
            async with asyncio.timeout(SILENCE_S):
                # Not readline: what it has of a line is lost when its time is over.
                buffer += await content.readany()
        except TimeoutError:
            yield None
            continue
        *whole, buffer = buffer.split(b"\n")
        for line in whole:
            if line.startswith(b"data:"):
                yield json.loads(line[5:])
