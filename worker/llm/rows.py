"""A row of `providers` as a provider of the catalogue. Loads no SDK; the front reads rows with it, too."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from uuid import UUID

from pydantic import SecretStr

from config.settings import PriceSetting
from models.repositories.declared import DeclaredRow
from worker.llm.providers import NO_KEY, Key, Kind, Provider


def provider_of(row: DeclaredRow, account_id: UUID, keys: tuple[Key, ...] = ()) -> Provider:
    """Return the provider a row declares.

    Args:
        row: the row.
        account_id: whose it is.
        keys: its keys, opened; without them those it has are only named, and it can't be asked.
    """
    declared = row.declared
    named = keys or tuple(Key(f"{row.name}/{each['label']}", SecretStr("")) for each in declared["keys"])
    prices = {model: PriceSetting.model_validate(price) for model, price in declared["prices"].items()}
    return Provider(
        name=row.name,
        kind=Kind(declared["kind"]),
        base_url=declared["base_url"],
        keys=named or (Key(f"{row.name}/none", SecretStr(NO_KEY)),),
        models=None if declared["models"] is None else tuple(declared["models"]),
        prices=MappingProxyType(prices),
        owner=str(account_id),
    )


def providers_of(rows: Iterable[DeclaredRow], account_id: UUID) -> Mapping[str, Provider]:
    """Return the providers rows declare by name, to list and to refuse by."""
    return {row.name: provider_of(row, account_id) for row in rows}
