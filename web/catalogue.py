"""Which models there are, as the workers and the account's own rows tell: the front opens no keys for it."""

from collections.abc import Mapping
from typing import Any

from flask import g

from models import notices
from models.repositories import declared, workers
from models.repositories.declared import Table
from web.agents import WORKFLOW
from web.errors import Invalid
from web.services import services
from worker.llm.errors import ModelFailed
from worker.llm.providers import Catalogue, Kind, Provider
from worker.llm.published import Published, merged, price_source, told_of
from worker.llm.rows import providers_of


def check_model(workflow: str, given: dict[str, Any]) -> None:
    """Refuse a model no worker may ask; accept it when that can't be known.

    Raises:
        Invalid: every worker seen lately has told its models, and none has this one; the message says what there is.
    """
    name = given.get("model") if workflow == WORKFLOW else None
    if not isinstance(name, str):
        return
    told = services().database.read(lambda connection: workers.models(connection, g.scope))
    if not told or None in told:
        return  # nobody there to say, or a worker of a version before: the task itself will find out
    try:
        merged(each for each in told if each).having(_own()).chain(name)
    except ModelFailed as error:
        raise Invalid("There is no such model.", [{"field": "input.model", "message": str(error)}]) from None


def default_chain() -> str:
    """Return the chain of models asked where none is named, as the workers tell; empty if there is none."""
    told = services().database.read(lambda connection: workers.models(connection, g.scope))
    return merged(each for each in told if each).default


def describe_models() -> dict[str, Any]:
    """Return the shape of `web.schemas.models.ModelList`: what may be asked for, and how it stands."""
    told = [each for each in services().database.read(lambda connection: workers.models(connection, g.scope)) if each]
    own = _own()
    catalogue = merged(told).having(own)
    up = services().notices.which(_names(catalogue))
    default = [name.strip() for name in catalogue.default.split(",") if name.strip()]
    listed = [_provider(each, told, default, up) for each in catalogue.providers.values()]
    return {"workers": len(told), "default": default, "providers": listed}


def _own() -> Mapping[str, Provider]:
    """The providers of the account that asks."""
    rows = services().database.read(lambda connection: declared.list_rows(connection, g.scope, Table.PROVIDERS))
    return providers_of(rows, g.scope.account_id)


def _names(catalogue: Catalogue) -> list[str]:
    each_down = [_down(provider) for provider in catalogue.providers.values()]
    return each_down + [name for provider in catalogue.providers.values() for name in _resting(provider)]


def _down(provider: Provider) -> str:
    return notices.provider_down(provider.owned(provider.name))


def _resting(provider: Provider) -> list[str]:
    return [notices.key_rests(provider.owned(key.label)) for key in provider.keys]


def _provider(provider: Provider, told: list[Published], default: list[str], up: set[str] | None) -> dict[str, Any]:
    about = _told(provider, told)
    prefix = provider.name + ":"
    named = {name.removeprefix(prefix) for name in default if name.startswith(prefix)}
    named |= {model for each in about for model in each["priced"]}
    allowed = sorted(named) if provider.models is None else sorted(provider.models)
    models = [{"name": prefix + model, "price_source": price_source(about[0], model)} for model in allowed]
    return {
        "name": provider.name,
        "kind": str(provider.kind),
        "own": bool(provider.owner),
        "any_model": provider.models is None,
        "models": models,
        "price_source": about[0]["price_source"],
        "health": _health(provider, up),
    }


def _told(provider: Provider, told: list[Published]) -> list[Published]:
    if provider.owner:
        return [told_of(provider)]
    return [each for one in told for each in one["providers"] if each["name"] == provider.name]


def _health(provider: Provider, up: set[str] | None) -> dict[str, Any]:
    keys = len(provider.keys)
    if provider.kind is Kind.OFFLINE:
        return {"status": "ok", "breaker": "closed", "keys": 0, "keys_resting": 0}
    if up is None:
        return {"status": "unknown", "breaker": "unknown", "keys": keys, "keys_resting": None}
    resting = sum(name in up for name in _resting(provider))
    is_open = _down(provider) in up
    status = "down" if is_open else "resting" if resting == keys else "ok"
    return {"status": status, "breaker": "open" if is_open else "closed", "keys": keys, "keys_resting": resting}
