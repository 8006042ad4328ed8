"""Which models there are: the settings, read into one catalogue. Loads no SDK and shows no key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from pydantic import SecretStr

from config.settings import PriceSetting, ProviderSetting, Settings
from worker.llm.errors import NoModelConfigured, UnknownModel

OFFLINE = "offline"
CHAIN_MAX = 10


class Kind(StrEnum):
    """How a provider is spoken to."""

    OPENAI = "openai"  #: Responses
    ANTHROPIC = "anthropic"  #: Messages
    COMPATIBLE = "compatible"  #: Chat Completions
    OFFLINE = "offline"  #: a scenario file


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a provider and the name it is known by; the key itself never appears in text."""

    label: str
    secret: SecretStr = field(repr=False)


@dataclass(frozen=True, slots=True)
class Provider:
    """A place models are called at.

    Attributes:
        name: the prefix of its models' names.
        base_url: None for the provider's own.
        keys: at least one; a server that wants none gets a placeholder.
        models: the only ones it may be asked for; None for any.
        prices: by model's name, in USD per million tokens.
        limits: what each key may use a minute: `requests`, `tokens`; without them, what the provider allows.
        owner: the account whose row it is; empty for those of the settings. What is told of it is told apart by this.
    """

    name: str
    kind: Kind
    base_url: str | None = None
    keys: tuple[Key, ...] = ()
    models: tuple[str, ...] | None = None
    prices: Mapping[str, PriceSetting] = field(default_factory=lambda: MappingProxyType({}))
    limits: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    owner: str = ""

    def owned(self, name: str) -> str:
        """Return how something of this provider is called among those of all accounts."""
        return f"{self.owner}/{name}" if self.owner else name


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model at its provider."""

    provider: Provider
    model: str

    @property
    def name(self) -> str:
        """`provider:model`."""
        return f"{self.provider.name}:{self.model}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All providers by name, and the chain of models for whoever names none."""

    providers: Mapping[str, Provider]
    default: str

    def having(self, own: Mapping[str, Provider]) -> "Catalogue":
        """Return the catalogue with an account's own providers, which go before others of the same name."""
        return Catalogue(MappingProxyType({**self.providers, **own}), self.default) if own else self

    def chain(self, name: str | None) -> tuple[ModelRef, ...]:
        """Return the models to ask, in this order.

        Args:
            name: `provider:model`, or several by comma; None for the configured ones.

        Raises:
            NoModelConfigured: nothing is named and nothing is configured.
            UnknownModel: a name that is not configured; the message says what is.
        """
        wanted = name or self.default
        if not wanted.strip():
            raise NoModelConfigured
        names = [each.strip() for each in wanted.split(",") if each.strip()]
        if not names or len(names) > CHAIN_MAX:
            raise UnknownModel(f"name 1 to {CHAIN_MAX} models by comma, such as openai:gpt-5.2,ollama:qwen3")
        chain = tuple(self._model(each) for each in dict.fromkeys(names))
        if len(chain) > 1 and any(each.provider.kind is Kind.OFFLINE for each in chain):
            raise UnknownModel("the offline provider plays a script; it can't stand in for another model in a chain")
        return chain

    def _model(self, name: str) -> ModelRef:
        prefix, _, model = name.partition(":")
        provider = self.providers.get(prefix)
        if provider is None or not model:
            if set(self.providers) == {OFFLINE}:
                raise NoModelConfigured(f"no provider is configured for the model {_cut(name)}; {_HOW}")
            raise UnknownModel(f"there is no model {_cut(name)}; name one as provider:model, with {self._offer()}")
        if provider.models is not None and model not in provider.models:
            there = ", ".join(f"{prefix}:{each}" for each in provider.models) or "none"
            raise UnknownModel(f"the provider {prefix} is not to be asked for {_cut(model)}; its models are {there}")
        return ModelRef(provider, model)

    def _offer(self) -> str:
        return "the providers " + ", ".join(sorted(self.providers))


_HOW = "set OPENAI_API_KEY or ANTHROPIC_API_KEY on the worker, list it in UMBEL_PROVIDERS, or PUT /v1/providers/<name>"
#: What servers without keys are sent; the SDKs insist on one.
NO_KEY = "none"


def catalogue(settings: Settings) -> Catalogue:
    """Return what the settings declare; a provider listed in UMBEL_PROVIDERS replaces one made from a key alone."""
    providers = {OFFLINE: Provider(OFFLINE, Kind.OFFLINE, keys=(Key(OFFLINE, SecretStr("")),))}
    for kind, keys in ((Kind.OPENAI, settings.openai_api_key), (Kind.ANTHROPIC, settings.anthropic_api_key)):
        if secrets := [SecretStr(each.strip()) for each in keys.get_secret_value().split(",") if each.strip()]:
            providers[kind] = Provider(str(kind), kind, keys=_keys(kind, secrets))
    for declared in settings.providers:
        providers[declared.name] = _provider(declared)
    return Catalogue(MappingProxyType(providers), settings.model)


def _provider(declared: ProviderSetting) -> Provider:
    return Provider(
        declared.name,
        Kind(declared.kind),
        declared.base_url,
        _keys(declared.name, declared.keys or [SecretStr(NO_KEY)]),
        None if declared.models is None else tuple(declared.models),
        MappingProxyType(dict(declared.prices)),
        MappingProxyType(declared.limits.model_dump(exclude_none=True)),
    )


def _keys(name: str, secrets: list[SecretStr]) -> tuple[Key, ...]:
    return tuple(Key(f"{name}/{number}", secret) for number, secret in enumerate(secrets, 1))


def _cut(name: str) -> str:
    return repr(name[:100])
