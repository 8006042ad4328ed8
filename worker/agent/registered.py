"""The HTTP tools an account has made, as they were when the run first asked.

A tool can be changed between two attempts of a run, and between two calls. What the run began with is a step, so a
replay gives the model the tools it had. The secret is read at each call; it is sent only while the tool still makes the
very request the run began with, so that no secret goes where its owner no longer sends it.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

from pydantic import SecretStr

from config.settings import get_settings
from models.errors import ModelError, SecretsUnconfigured, SecretUnreadable
from models.repositories import http_tools as rows
from models.repositories.http_tools import HttpToolRow
from models.scope import AccountScope
from models.secrets import SecretBox
from worker.agent.remote import is_remote
from worker.context import RunContext
from worker.errors import InputRefused, StepFailed
from worker.store import Store
from worker.tools import BUILT_IN
from worker.tools.base import Changed, NotConfigured, Tool, ToolError
from worker.tools.http_spec import HttpToolDefinition
from worker.tools.http_tool import http_tool

STEP = "tools:http"


async def http_tools(ctx: RunContext, names: Iterable[str]) -> list[Tool]:
    """Return those of the named tools that are neither built in nor of MCP servers.

    Raises:
        InputRefused: the account has no such tool; the message says what there is.
        StepFailed: the tools can't be read now (tried again).
    """
    wanted = sorted(name for name in set(names) if not is_remote(name) and name not in BUILT_IN)
    if not wanted:
        return []
    store, scope = ctx.journal.store, AccountScope(ctx.journal.claim.account_id)
    recorded = await ctx.step(STEP, lambda _: _listed(store, scope, wanted), kind="tools")
    # Compiling schemas takes milliseconds each: not on the loop.
    return await asyncio.to_thread(lambda: [_tool(store, scope, each) for each in recorded["tools"]])


async def _listed(store: Store, scope: AccountScope, names: list[str]) -> dict[str, Any]:
    try:
        return {"tools": await store.read(partial(_found, scope=scope, names=names))}
    except ModelError as error:
        raise StepFailed(str(error), code=error.code, retryable=error.retryable) from error


def _found(connection: Any, scope: AccountScope, names: list[str]) -> list[dict[str, Any]]:
    found = rows.some(connection, scope, names)
    if missing := [name for name in names if name not in found]:
        known = ", ".join((*BUILT_IN, *rows.names(connection, scope, 100)))
        raise InputRefused(f"there is no tool {', '.join(missing)}; there are {known}"[:2000])
    return [_recorded(found[name]) for name in names]


def _recorded(row: HttpToolRow) -> dict[str, Any]:
    fingerprint = HttpToolDefinition.model_validate(row.definition).fingerprint()
    return {"name": row.name, "version": row.version, "hash": fingerprint, "definition": row.definition}


def _tool(store: Store, scope: AccountScope, recorded: dict[str, Any]) -> Tool:
    definition = HttpToolDefinition.model_validate(recorded["definition"])
    opener = partial(_opened, store, scope, recorded["name"], recorded["definition"])
    return http_tool(recorded["name"], definition, opener, row=recorded["version"])


async def _opened(store: Store, scope: AccountScope, name: str, began_with: dict[str, Any]) -> SecretStr | None:
    try:
        row = (await store.read(partial(rows.some, scope=scope, names=[name]))).get(name)
        if row is None or not _same_request(row.definition, began_with):
            raise Changed(f"{name} has been changed or deleted since this task began; submit the task again to use it")
        if row.definition.get("auth") is None:
            return None
        if row.secret is None:
            raise NotConfigured(f"the secret of {name} is not set; put the tool again, with its secret")
        return SecretBox(get_settings().secret_keys).open(row.secret)
    except (SecretsUnconfigured, SecretUnreadable) as error:
        raise NotConfigured(f"the secret of {name} can't be opened: {error}") from None
    except ModelError as error:
        raise ToolError(f"{name} can't be looked up now ({error.code}); try again") from None


def _same_request(now: dict[str, Any], began_with: dict[str, Any]) -> bool:
    if now == began_with:
        return True
    one, other = map(HttpToolDefinition.model_validate, (now, began_with))
    return one.fingerprint() == other.fingerprint()
