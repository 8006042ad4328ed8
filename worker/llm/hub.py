"""The gateway: gives models by name, and falls back along a chain of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

from pydantic_ai.exceptions import FallbackExceptionGroup
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RequestUsage

from config.settings import Settings
from models.repositories.declared import DeclaredRow
from worker.llm import costs, embedding
from worker.llm.board import Board
from worker.llm.cache import AnswerCache, CachedModel
from worker.llm.clients import Clients
from worker.llm.embedding import Embeddings
from worker.llm.errors import ModelFailed
from worker.llm.owned import Held, Owned
from worker.llm.providers import Catalogue, ModelRef, catalogue
from worker.llm.serving import Patience, Serving
from worker.llm.standing import Standing
from worker.walled import Wall

_NONE: Mapping[str, Held] = MappingProxyType({})


class ChainModel(FallbackModel):
    """Asks the models of a chain in order, until one answers.

    Raises, from every request:
        ModelFailed: the last one's error if nothing helps by waiting, else one that may pass; `tried` has all.
    """

    def __init__(self, name: str, models: list[Model]) -> None:
        super().__init__(*models, fallback_on=_falls_back)
        self._name = name

    @property
    def model_name(self) -> str:
        """`provider:model`, or several by comma."""
        return self._name

    @property
    def model_id(self) -> str:
        """The same."""
        return self._name

    def price(self, sent: int, answered: int) -> Decimal | None:
        """Return what so many tokens sent and answered cost at most along the chain, in USD; None if unknown.

        A scripted model costs nothing.
        """
        usage = RequestUsage(input_tokens=sent, output_tokens=answered)
        each = [_usd(serving.ref, usage) for serving in self.models if isinstance(serving, Serving | CachedModel)]
        known = [usd for usd in each if usd is not None]
        return max(known) if known and len(known) == len(each) else None

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the first whole answer."""
        try:
            return await super().request(messages, model_settings, model_request_parameters)
        except FallbackExceptionGroup as group:
            raise _one_of(group) from None

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Hand over the first answer that begins."""
        try:
            async with super().request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as response:
                yield response
        except FallbackExceptionGroup as group:
            raise _one_of(group) from None


class Gateway:
    """All models of this process: the catalogue, the state of keys and providers, the connections."""

    def __init__(self, settings: Settings) -> None:
        self.catalogue: Catalogue = catalogue(settings)
        self._settings = settings
        self._clients = Clients(settings.model_timeout_s, settings.model_answer_max_bytes, settings.offline_scenario)
        self._board = Board(settings)
        self._cache = AnswerCache(settings, self._board)
        self._standings = {name: Standing(each, self._board) for name, each in self.catalogue.providers.items()}
        self._owned = Owned(settings, self._board)

    async def models_of(
        self, account_id: UUID, rows: Sequence[DeclaredRow], wall_of: Callable[[Settings], Wall]
    ) -> Callable[[str | None], Model]:
        """Return what gives models to an account: its own providers' first, then those of the settings.

        Args:
            account_id: the account.
            rows: its providers.
            wall_of: makes what keeps connections to their addresses within bounds.
        """
        own = await self._owned.of(account_id, rows, wall_of(self._settings))
        return partial(self.model, own=own)

    def model(self, name: str | None = None, own: Mapping[str, Held] = _NONE) -> Model:
        """Return the model of this name, for use on the running loop.

        Args:
            name: `provider:model`, or several by comma to fall back along; None for the configured ones.
            own: providers that go before those of the settings.

        Raises:
            NoModelConfigured: nothing is named and nothing is configured.
            UnknownModel: a name that is not configured; the message says what is.
            ModelKeysSealed: the keys of one of `own` can't be opened.
        """
        chain = self._having(own).chain(name)
        models = [self._cached(self._serving(ref, own, last=ref is chain[-1])) for ref in chain]
        return ChainModel(",".join(ref.name for ref in chain), models)

    async def embed(
        self, texts: Sequence[str], model: str, dimension: int | None = None, own: Mapping[str, Held] = _NONE
    ) -> Embeddings:
        """Return a vector for each text, in their order, from as many requests as it takes.

        Args:
            texts: none of them empty; an empty list asks nobody.
            model: `provider:model`; never a chain, and there is no default.
            dimension: the size to ask for; None for the model's own.
            own: providers that go before those of the settings.

        Raises:
            UnknownModel: a name that is not configured, or a chain.
            EmbeddingsUnsupported: the provider has none.
            EmbeddingDimension: the vectors have another size.
            ModelKeysSealed: the keys of one of `own` can't be opened.
            ModelFailed: nothing helped; as for any call of a model.
        """
        ref = embedding.chosen(self._having(own), model)
        found = Embeddings(ref.name)
        serving = self._serving(ref, own, last=True)
        for texts_of_one in embedding.batches(texts):
            batch = await serving.embed(texts_of_one, dimension)
            found.add(batch, costs.cost(ref, batch.usage), dimension)
        return found

    async def embedder_of(
        self, account_id: UUID, rows: Sequence[DeclaredRow], wall_of: Callable[[Settings], Wall]
    ) -> Callable[..., Awaitable[Embeddings]]:
        """Return `embed` for an account: over its own providers first; arguments as for `models_of`."""
        return partial(self.embed, own=await self._owned.of(account_id, rows, wall_of(self._settings)))

    def _having(self, own: Mapping[str, Held]) -> Catalogue:
        return self.catalogue.having({name: held.provider for name, held in own.items()})

    def _cached(self, serving: Serving) -> Model:
        return CachedModel(serving, self._cache) if self._cache.on else serving

    def _serving(self, ref: ModelRef, own: Mapping[str, Held], *, last: bool) -> Serving:
        patience = Patience(self._settings.model_retries, self._settings.model_wait_max_s, last)
        held = own.get(ref.provider.name)
        if held is None:
            return Serving(ref, self._clients, self._standings[ref.provider.name], patience)
        held.check()
        serving = Serving(ref, held.clients, held.standing, patience)
        held.users[id(serving)] = serving
        return serving

    async def close(self) -> None:
        """Close the running loop's connections."""
        await self._owned.close()
        await self._clients.close()
        await self._board.close()


def _usd(ref: ModelRef, usage: RequestUsage) -> Decimal | None:
    found = costs.cost(ref, usage)
    if found["source"] == costs.Source.SYNTHETIC:
        return Decimal()
    return None if found["usd"] is None else Decimal(found["usd"])


def _falls_back(error: Exception) -> bool:
    return isinstance(error, ModelFailed) and error.falls_back


def _one_of(group: FallbackExceptionGroup) -> ModelFailed:
    """Choose the error to go on with: one that passes by waiting, else the first."""
    failed = [error for error in group.exceptions if isinstance(error, ModelFailed)]
    chosen = min(failed, key=lambda error: (not error.retryable, error.retry_after_s or 0.0))
    if len(failed) > 1:
        chosen.detail["tried"] = [{"model": error.detail.get("model"), "code": error.code} for error in failed]
    return chosen
