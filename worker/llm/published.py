"""What a worker tells of its models: enough to list and to refuse by. No key, no address, no SDK."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from worker.llm.providers import Catalogue, Key, Kind, Provider

Published = dict[str, Any]


def publish(catalogue: Catalogue) -> Published:
    """Return the catalogue as JSON: `default`, and `providers` with name, kind, models, keys' labels, price sources."""
    return {"default": catalogue.default, "providers": [told_of(each) for each in catalogue.providers.values()]}


def merged(published: Iterable[Published]) -> Catalogue:
    """Return what any of several workers may be asked for; the first one's default is everybody's.

    A merged catalogue can name models and refuse; it can't call any, because nobody tells keys.
    """
    all_of_them = list(published)
    providers: dict[str, Provider] = {}
    for told in (each for one in all_of_them for each in one["providers"]):
        known = providers.get(told["name"])
        providers[told["name"]] = _read(told) if known is None else _joined(known, _read(told))
    return Catalogue(MappingProxyType(providers), all_of_them[0]["default"] if all_of_them else "")


def price_source(told: Mapping[str, Any], model: str) -> str:
    """Return where the cost of a model's calls comes from; `priced`: from the price list, if that knows the model."""
    return "configured" if model in told["priced"] else str(told["price_source"])


def told_of(provider: Provider) -> Published:
    """Return one provider as JSON."""
    return {
        "name": provider.name,
        "kind": str(provider.kind),
        "models": None if provider.models is None else list(provider.models),
        "keys": [key.label for key in provider.keys],
        "priced": sorted(provider.prices),
        "price_source": _source(provider),
    }


def _source(provider: Provider) -> str:
    if provider.kind is Kind.OFFLINE:
        return "synthetic"
    return "priced" if provider.base_url is None else "unpriced"


def _read(told: Published) -> Provider:
    keys = tuple(Key(label, SecretStr("")) for label in told["keys"])
    models = None if told["models"] is None else tuple(told["models"])
    return Provider(told["name"], Kind(told["kind"]), None, keys, models)


def _joined(one: Provider, other: Provider) -> Provider:
    keys = {key.label: key for key in (*one.keys, *other.keys)}
    either = None if one.models is None or other.models is None else tuple(dict.fromkeys((*one.models, *other.models)))
    return Provider(one.name, one.kind, None, tuple(keys.values()), either)
