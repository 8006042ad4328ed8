"""Models: what may be asked for."""

from typing import Literal

from pydantic import BaseModel, Field

PriceSource = Literal["priced", "configured", "unpriced", "synthetic"]


class NamedModel(BaseModel):
    """A model that is known by name."""

    name: str = Field(description="As a task names it: `provider:model`.")
    price_source: PriceSource


class ProviderHealth(BaseModel):
    """What workers have told each other lately."""

    status: Literal["ok", "resting", "down", "unknown"] = Field(description="`unknown` while Redis is away.")
    breaker: Literal["closed", "open", "unknown"]
    keys: int
    keys_resting: int | None = Field(description="Keys not used for now, for any model.")


class ModelProvider(BaseModel):
    """A place models are called at."""

    name: str
    kind: Literal["openai", "anthropic", "compatible", "offline"]
    own: bool = Field(description="Whether it is the account's own: see `/v1/providers`.")
    any_model: bool = Field(description="Whether it may be asked for models not in `models`, too.")
    models: list[NamedModel]
    price_source: PriceSource = Field(description="For models without a price of their own.")
    health: ProviderHealth


class ModelList(BaseModel):
    """What the workers seen lately may be asked for."""

    workers: int = Field(description="How many have told; with 0 nothing is known.")
    default: list[str] = Field(description="The chain for tasks that name no model.")
    providers: list[ModelProvider]
