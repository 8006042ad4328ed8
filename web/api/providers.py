"""Providers of models an account keeps. Keys go in and never come out."""

from typing import Any

from flask_openapi3.models.tag import Tag

from models.repositories.declared import Table
from web import declaring, providers
from web.binding import Api
from web.providers import provider_json
from web.schemas.common import Problem
from web.schemas.providers import ListDeclared, Provider, ProviderList, ProviderPath, PutDeclaredQuery, PutProvider

api = Api("providers", __name__, url_prefix="/v1", abp_tags=[Tag(name="providers")])


@api.put("/providers/<name>", summary="Create or replace a provider", responses={200: Provider, 409: Problem})
def put_provider(path: ProviderPath, query: PutDeclaredQuery, body: PutProvider) -> dict[str, Any]:
    """Workers see it within seconds; a run goes on with what it began with."""
    return provider_json(providers.put(path.name, body, query.version))


@api.get("/providers/<name>", summary="Get a provider", responses={200: Provider, 404: Problem})
def get_provider(path: ProviderPath) -> dict[str, Any]:
    """Keys are shown by label and last four characters."""
    return provider_json(declaring.read(Table.PROVIDERS, path.name))


@api.get("/providers", summary="List the account's providers", responses={200: ProviderList})
def list_providers(query: ListDeclared) -> dict[str, Any]:
    """In order of name; `next` leads to the next page. Those of the settings are in `GET /v1/models`."""
    rows, after = declaring.page(Table.PROVIDERS, query.after, query.limit)
    return {"providers": [provider_json(row) for row in rows], "next": after}


@api.delete("/providers/<name>", summary="Delete a provider", responses={204: None, 404: Problem})
def delete_provider(path: ProviderPath) -> tuple[str, int]:
    """And its keys with it."""
    declaring.forget(Table.PROVIDERS, path.name)
    return "", 204
