"""Providers of models an account keeps: their rules, and their keys."""

from functools import partial
from typing import Any

from flask import g

from models.errors import Conflict
from models.repositories import workers
from models.repositories.declared import DeclaredRow, Table
from web import declaring
from web.errors import Invalid
from web.schemas.providers import GivenKey, PutProvider
from web.services import services
from worker.llm.providers import OFFLINE


def put(name: str, given: PutProvider, expected: int | None) -> DeclaredRow:
    """Create or replace a provider of the account that asks.

    Raises:
        Invalid: name, address or keys can't be used; the field is named.
        models.errors.Conflict: there is another version, or the settings have a provider of this name.
    """
    if name == OFFLINE:
        raise _wrong("name", f"the name {OFFLINE} is taken by the provider that plays scenario files")
    if given.base_url is not None:
        declaring.check_address(given.base_url, "base_url")
    if not given.overrides:
        _check_free(name)
    return declaring.keep(Table.PROVIDERS, name, expected, partial(_merged, given))


def _check_free(name: str) -> None:
    told = services().database.read(lambda connection: workers.models(connection, g.scope))
    if any(each["name"] == name for one in told if one for each in one["providers"]):
        cure = 'choose another name, or send "overrides": true to use yours instead'
        raise Conflict(f"The installation's settings have a provider {name!r}; {cure}.")


def _merged(given: PutProvider, before: dict[str, Any], kept: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if kept and (given.kind, given.base_url) != (before["kind"], before["base_url"]):
        # Whoever may change the address must not learn the keys by it.
        if given.keys is None:
            raise _wrong(
                "keys", "keys stay only where they are: for another kind or base_url give them anew, or [] for none"
            )
        kept = {}
    keys = kept if given.keys is None else {each.label: _key(each, kept, at) for at, each in enumerate(given.keys)}
    if given.kind != "compatible" and not keys:
        raise _wrong("keys", f"a provider of the kind {given.kind} needs at least one key")
    declared = given.model_dump(mode="json", exclude={"keys"})
    shown = [{"label": label, "last_four": declaring.last_four(key)} for label, key in keys.items()]
    return {**declared, "keys": shown}, keys


def _key(given: GivenKey, kept: dict[str, Any], place: int) -> str:
    if given.key is not None:
        return given.key.get_secret_value()
    if given.label not in kept:
        raise _wrong(f"keys[{place}].key", f"no key is kept under the label {given.label} for this address; give it")
    return str(kept[given.label])


def _wrong(field: str, message: str) -> Invalid:
    return Invalid("The provider can't be used.", [{"field": field, "message": message}])


def provider_json(row: DeclaredRow) -> dict[str, Any]:
    """Render a row in the shape of `web.schemas.providers.Provider`."""
    about = {"name": row.name, "version": row.version, "created_at": row.created_at, "updated_at": row.updated_at}
    return {**about, **row.declared}
