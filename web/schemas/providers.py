"""Providers of models an account keeps: what is put, and what is answered."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr, StringConstraints, field_validator, model_validator

from web.schemas.common import Strict

NAME = r"^[a-z][a-z0-9_-]{0,31}$"
LABEL = r"^[a-z0-9][a-z0-9_-]{0,31}$"

ModelName = Annotated[str, StringConstraints(pattern=r"^[^\s,]{1,150}$")]


class ProviderPath(BaseModel):
    """Which provider."""

    name: Annotated[str, Field(pattern=NAME, description="1 to 32 of a-z, 0-9, `-` and `_`, beginning with a letter.")]


class Price(Strict):
    """What a model costs, in USD per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(None, ge=0, description="For what was read from the prompt cache.")


class GivenKey(Strict):
    """A key, under a label it is known by from then on."""

    label: Annotated[str, Field(pattern=LABEL)]
    key: Annotated[SecretStr, Field(min_length=1, max_length=2000)] | None = Field(
        None, description="Never shown again. Without it the one kept under this label stays."
    )

    @field_validator("key")
    @classmethod
    def _goes_into_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not all("!" <= char <= "~" for char in key.get_secret_value()):
            raise ValueError("a key has printable ASCII characters only, and no spaces")
        return key


class PutProvider(Strict):
    """The whole provider; what is left out is at its default, but keys stay as they are."""

    kind: Literal["openai", "anthropic", "compatible"]
    base_url: str | None = Field(None, max_length=500, pattern=r"^https?://[^\s@?#]+$")
    keys: list[GivenKey] | None = Field(None, max_length=20, description="Without it the keys kept stay.")
    models: list[ModelName] | None = Field(None, max_length=200, description="The only ones it may be asked for.")
    prices: dict[ModelName, Price] = Field({}, max_length=200)
    overrides: bool = Field(False, description="Go before a provider of this name in the installation's settings.")

    @model_validator(mode="after")
    def _consistent(self) -> "PutProvider":
        if self.kind == "compatible" and not self.base_url:
            raise ValueError("a compatible provider needs a base_url, such as https://models.example.com/v1")
        labels = [each.label for each in self.keys or []]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"two keys have the label {', '.join(twice)}")
        return self


class PutDeclaredQuery(Strict):
    """On what condition."""

    version: int | None = Field(None, ge=0, description="Replace this version only; 0: only if there is none yet.")


class ListDeclared(Strict):
    """Which page."""

    limit: int = Field(50, ge=1, le=100)
    after: str = Field("", max_length=63, description="`next` of the page before.")


class ShownKey(BaseModel):
    """What is shown of a key."""

    label: str
    last_four: str = Field(description="Its last four characters; empty if it is too short to show any.")


class Provider(BaseModel):
    """A provider of the account."""

    name: str
    version: int = Field(description="Counts its changes, from 1.")
    kind: Literal["openai", "anthropic", "compatible"]
    base_url: str | None
    keys: list[ShownKey]
    models: list[str] | None
    prices: dict[str, Price]
    overrides: bool
    created_at: datetime
    updated_at: datetime


class ProviderList(BaseModel):
    """Providers in order of name."""

    providers: list[Provider]
    next: str | None
