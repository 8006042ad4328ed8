"""Models: the only way Umbel calls one.

    from worker import llm

    models = await llm.ready()
    models.model("openai:gpt-5.2")   # a pydantic-ai Model: retries, key rotation and fallback inside

Importing this package loads no SDK; the first use does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING
from uuid import UUID

from config.settings import Settings, get_settings
from models.repositories.declared import Table
from worker.rows import Rows

if TYPE_CHECKING:
    from pydantic_ai.models import Model

    from worker.llm.embedding import Embeddings
    from worker.llm.hub import Gateway
    from worker.store import Store
    from worker.walled import Wall

#: What the SDKs load only when it is first used; that would be on the loop, in the middle of a task.
LATE = ("openai.resources.chat", "openai.resources.embeddings", "openai.resources.responses", "genai_prices.data")

_gateway: "Gateway | None" = None
_rows = Rows(Table.PROVIDERS)
#: Accounts the gateway may hold providers of.
_with_rows: set[UUID] = set()


async def ready() -> "Gateway":
    """Return this process's gateway; the SDKs, seconds of CPU, are loaded beside the loop and not on it."""
    if _gateway is None:
        await asyncio.to_thread(_load)
    return gateway()


def _load() -> None:
    for module in ("worker.llm.hub", *LATE):
        import_module(module)


async def models_of(
    store: "Store", account_id: UUID, wall_of: "Callable[[Settings], Wall]"
) -> "Callable[[str | None], Model]":
    """Return what gives models by name to an account: those of its own providers first, then those of the settings.

    A run keeps what it was given; a changed row is seen by whoever asks within seconds.

    Args:
        store: where the account's providers are read.
        account_id: the account.
        wall_of: makes what keeps connections to addresses accounts declare within bounds.

    Raises:
        models.errors.Unavailable: PostgreSQL can't say which providers there are.
    """
    models, rows = await ready(), await _rows.of(store, account_id)
    if not rows and account_id not in _with_rows:
        return models.model
    (_with_rows.add if rows else _with_rows.discard)(account_id)
    return await models.models_of(account_id, rows, wall_of)


async def embedder_of(
    store: "Store", account_id: UUID, wall_of: "Callable[[Settings], Wall]"
) -> "Callable[..., Awaitable[Embeddings]]":
    """Return what gives vectors to an account, over its own providers first: `Gateway.embed`; else as `models_of`."""
    models, rows = await ready(), await _rows.of(store, account_id)
    return await models.embedder_of(account_id, rows, wall_of) if rows else models.embed


def gateway() -> "Gateway":
    """Return this process's gateway, built from the settings at the first call; that one loads the SDKs."""
    global _gateway
    if _gateway is None:
        from worker.llm.hub import Gateway

        _gateway = Gateway(get_settings())
    return _gateway


async def close() -> None:
    """Close the running loop's connections; the gateway may be used again afterwards."""
    if _gateway is not None:
        await _gateway.close()
