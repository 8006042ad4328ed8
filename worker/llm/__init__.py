"""Models: the only way Umbel calls one.

    from worker import llm

    models = await llm.ready()
    models.model("openai:gpt-5.2")   # a pydantic-ai Model: retries, key rotation and fallback inside

Importing this package loads no SDK; the first use does.
"""

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from config.settings import get_settings

if TYPE_CHECKING:
    from worker.llm.hub import Gateway

#: What the SDKs load only when it is first used; that would be on the loop, in the middle of a task.
LATE = ("openai.resources.chat", "openai.resources.responses", "genai_prices.data")

_gateway: "Gateway | None" = None


async def ready() -> "Gateway":
    """Return this process's gateway; the SDKs, seconds of CPU, are loaded beside the loop and not on it."""
    if _gateway is None:
        await asyncio.to_thread(_load)
    return gateway()


def _load() -> None:
    for module in ("worker.llm.hub", *LATE):
        import_module(module)


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
