"""The SDKs' clients: one for each key and event loop, on aiohttp, without retries of their own.

aiohttp, because plain httpx collapses at 500 calls in flight. All clients of one loop share their wire's
connections; no proxies, credentials or endpoints are taken from the environment, and no redirect is followed:
it would carry the key elsewhere.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import anthropic
import httpx2
import openai
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel, AnthropicModelSettings
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings

from worker.llm import listening
from worker.llm.offline import OfflineModel
from worker.llm.providers import Key, Kind, ModelRef
from worker.llm.taxonomy import AnswerTooLarge
from worker.walled import Wall, pinned

CONNECT_S = 10.0
#: An idle connection is kept this long: the next step of a run saves the handshake.
KEPT_S = 30.0
OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"


class _Capped(httpx2.AsyncByteStream):
    """A body that ends with an error once it is too long."""

    def __init__(self, inner: httpx2.AsyncByteStream, most: int) -> None:
        self._inner = inner
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._inner:
            size += len(piece)
            if size > self._most:
                raise AnswerTooLarge
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


@cache
def _trusted() -> ssl.SSLContext:
    """Load the certificates once: each time takes as long as a hundred calls."""
    return httpx2.create_ssl_context(trust_env=False)


class Clients:
    """Makes pydantic-ai models bound to one key each, and closes their connections."""

    def __init__(self, timeout_s: float, answer_max_bytes: int, scenario: str, wall: Wall | None = None) -> None:
        self._scenario = scenario
        self._before = [pinned(wall)] if wall else []
        self._timeout = httpx2.Timeout(timeout_s, connect=CONNECT_S)
        self._most = answer_max_bytes
        self._http: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Kind, httpx2.AsyncClient]] = WeakKeyDictionary()
        self._models: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], Model]] = WeakKeyDictionary()

    def model(self, ref: ModelRef, key: Key) -> Model:
        """Return the model that asks `ref` with `key` on the running loop."""
        made = self._models.setdefault(asyncio.get_running_loop(), {})
        name = (ref.name, key.label)
        if name not in made:
            made[name] = self._make(ref, key)
        return made[name]

    def _make(self, ref: ModelRef, key: Key) -> Model:
        if ref.provider.kind is Kind.OFFLINE:
            return OfflineModel(ref.model, self._scenario)
        return make(ref, key, self._client(ref.provider.kind))

    async def close(self) -> None:
        """Close the running loop's connections."""
        loop = asyncio.get_running_loop()
        self._models.pop(loop, None)
        for client in self._http.pop(loop, {}).values():
            await client.aclose()

    def _client(self, kind: Kind) -> httpx2.AsyncClient:
        made = self._http.setdefault(asyncio.get_running_loop(), {})
        wire = Kind.ANTHROPIC if kind is Kind.ANTHROPIC else Kind.OPENAI
        if wire not in made:
            library = anthropic if wire is Kind.ANTHROPIC else openai
            made[wire] = library.DefaultAioHttpClient(
                timeout=self._timeout,
                verify=_trusted(),
                limits=httpx2.Limits(max_connections=0, keepalive_expiry=KEPT_S),  # to aiohttp 0 is no limit
                follow_redirects=False,
                trust_env=False,
                event_hooks={"request": self._before, "response": [self._cap]},
            )
        return made[wire]

    async def _cap(self, response: httpx2.Response) -> None:
        listening.heard(response.headers)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Capped(response.stream, self._most)


def make(ref: ModelRef, key: Key, http: httpx2.AsyncClient) -> Model:
    """Make the pydantic-ai model that speaks the wire of a provider's kind, over the connections of `http`."""
    provider, secret = ref.provider, key.secret.get_secret_value()
    common: dict[str, Any] = {"api_key": secret, "http_client": http, "max_retries": 0}
    if provider.kind is Kind.ANTHROPIC:
        client = anthropic.AsyncAnthropic(base_url=provider.base_url or ANTHROPIC_URL, **common)
        return AnthropicModel(
            ref.model, provider=AnthropicProvider(anthropic_client=client), settings=_ANTHROPIC_SETTINGS
        )
    speaker = openai.AsyncOpenAI(base_url=provider.base_url or OPENAI_URL, **common)
    if provider.kind is Kind.OPENAI:
        return OpenAIResponsesModel(
            ref.model, provider=OpenAIProvider(openai_client=speaker), settings=_RESPONSES_SETTINGS
        )
    return OpenAIChatModel(
        ref.model,
        provider=OpenAICompatibleProvider(provider.name, openai_client=speaker),
        # Without it, an answer that was cut off between two events looks like one that ended.
        profile=OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True),
        settings=ModelSettings(),
    )


#: The journal is the state; nothing is kept at the provider.
_RESPONSES_SETTINGS = OpenAIResponsesModelSettings(openai_store=False)
#: Tools come sorted by name, so the prefix stays the same and is read from the cache at a tenth of the price.
_ANTHROPIC_SETTINGS = AnthropicModelSettings(
    anthropic_cache_tool_definitions=True, anthropic_cache_instructions=True, anthropic_cache=True
)
