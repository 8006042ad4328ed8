"""What an HTTP tool is: which request a call makes, and where each argument goes. Light: the front checks with this."""

import hashlib
import json
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from config.known import SHORTEST
from models.tasks import Effect
from worker.tools import BUILT_IN
from worker.tools.checking import SCHEMA_ERRORS, Expanded, compiled
from worker.tools.headers import CREDENTIALS, is_free, is_plain

#: What every provider of models takes as a name; two underscores together are left to the tools of MCP servers.
NAME = r"^[A-Za-z][A-Za-z0-9-]*(?:_[A-Za-z0-9-]+)*$"
NAME_MAX = 64
#: Words that mean something else where tools are named.
RESERVED = frozenset({*BUILT_IN, "unsafe", "final_result"})
SCHEMA_MAX = 50_000
#: Shorter words can't be masked where they turn up without tearing ordinary text apart.
SECRET_MIN, SECRET_MAX = SHORTEST, 4000

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
Where = Literal["path", "query", "header", "body", "field"]
Style = Literal["form", "comma", "space", "pipe", "deep"]

_EFFECTS: dict[str, Effect] = dict.fromkeys(("GET", "HEAD"), Effect.PURE) | dict.fromkeys(
    ("PUT", "DELETE"), Effect.IDEMPOTENT
)
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})
_AUTH = re.compile(r"bearer|(header|query):([A-Za-z0-9_.~-]{1,100})")
_BRACED = re.compile(r"\{([^{}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Place(_Strict):
    """Where an argument goes."""

    in_: Annotated[
        Where, Field(alias="in", description="`body`: it is the whole body; `field`: a field of a JSON body.")
    ]
    name: Annotated[str, Field(min_length=1, max_length=200, description="There; by default as it is.")] | None = None
    style: Annotated[
        Style,
        Field(description="In a query, how a list (or with `deep` an object) is written; `form` repeats the name."),
    ] = "form"


class HttpToolDefinition(_Strict):
    """A request with places for arguments."""

    description: Annotated[str, Field(min_length=1, max_length=4000, description="Told to the model.")]
    method: Method = "GET"
    url: Annotated[str, Field(min_length=8, max_length=2000, description="With `{name}` where an argument goes.")]
    parameters: Annotated[dict[str, Any], Field(description="JSON schema of the arguments: an object.")] = {
        "type": "object",
        "properties": {},
    }
    places: Annotated[
        dict[str, Place],
        Field(
            description="Where arguments go that neither stand in `url` nor go to the query (`GET`, `HEAD`, `DELETE`) "
            "or the fields of a JSON body (others)."
        ),
    ] = {}
    headers: Annotated[dict[str, str], Field(max_length=30, description="Sent with every call; no secrets.")] = {}
    auth: Annotated[str, Field(max_length=120, description="`bearer`, `header:NAME` or `query:NAME`.")] | None = None
    effect: Annotated[Effect, Field(description="What repeating a call would do; by default by its method.")] | None = (
        None
    )
    approval: Annotated[bool, Field(description="Whether a person must approve each call.")] = False
    timeout_s: Annotated[float, Field(ge=1, le=300)] = 30
    cache_s: (
        Annotated[
            int, Field(ge=0, le=86_400, description="Give the same answer again for so long; by default by the effect.")
        ]
        | None
    ) = None

    @field_validator("url")
    @classmethod
    def _template(cls, url: str) -> str:
        _check_url(url)
        return url

    @field_validator("auth")
    @classmethod
    def _known_auth(cls, auth: str | None) -> str | None:
        if auth is not None:
            found = _AUTH.fullmatch(auth)
            if not found or (found[1] == "header" and not is_free(found[2])):
                raise ValueError("auth is bearer, header:NAME or query:NAME")
        return auth

    @field_validator("headers")
    @classmethod
    def _no_secrets(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not is_free(name) or not is_plain(value) or not value.isascii():
                raise ValueError(f"the header {name[:40]!r} can't be set, or not to this value")
            if name.lower() in CREDENTIALS:
                raise ValueError(f"{name} is for secrets: use auth and secret, which are kept sealed")
        return headers

    @field_validator("parameters")
    @classmethod
    def _usable(cls, schema: dict[str, Any]) -> dict[str, Any]:
        check_parameters(schema)
        return schema

    @model_validator(mode="after")
    def _consistent(self) -> "HttpToolDefinition":
        if unknown := sorted(set(self.places) - set(self.properties)):
            raise ValueError(f"places name {', '.join(unknown)[:200]}, which parameters does not")
        required = self.parameters.get("required", [])
        for name in self.variables:
            if name not in required:
                raise ValueError(f"{{{name}}} stands in url: parameters must have it, and require it")
        for name in self.properties:
            self._check_place(name, self.place(name))
        self._check_body()
        if self.cache_s and self.effect_now is Effect.UNSAFE:
            raise ValueError("what an unsafe call gave can't be given again: leave cache_s out")
        return self

    @property
    def properties(self) -> list[str]:
        """The names of the arguments."""
        return list(self.parameters.get("properties", {}))

    @property
    def variables(self) -> list[str]:
        """The arguments that stand in the URL."""
        return list(dict.fromkeys(_BRACED.findall(self.url)))

    @property
    def effect_now(self) -> Effect:
        """What repeating a call would do, whether said or by the method."""
        return self.effect or _EFFECTS.get(self.method, Effect.UNSAFE)

    @property
    def auth_place(self) -> tuple[str, str] | None:
        """Where the secret goes: `header` or `query`, and the name there."""
        if self.auth is None:
            return None
        kind, _, name = self.auth.partition(":")
        return ("header", "Authorization") if kind == "bearer" else (kind, name)

    @property
    def origin(self) -> str:
        """Scheme and host: where the secret is sent."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}".lower()

    def place(self, name: str) -> Place:
        """Return where an argument goes."""
        if name in self.places:
            return self.places[name]
        if name in self.variables:
            return Place(**{"in": "path"})
        return Place(**{"in": "query" if self.method in _BODILESS else "field"})

    def schema_of_arguments(self) -> dict[str, Any]:
        """Return the JSON schema calls are checked by: arguments nobody declared are refused."""
        return {"additionalProperties": False, **self.parameters}

    def stored(self) -> dict[str, Any]:
        """Return what is kept of it: what was given."""
        return self.model_dump(mode="json", exclude_unset=True, by_alias=True)

    def fingerprint(self) -> str:
        """Return a hash of what is sent where; words, limits and approvals do not count."""
        said = self.model_dump(mode="json", by_alias=True, exclude={"description", "approval", "timeout_s", "cache_s"})
        said["effect"] = self.effect_now
        return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def _check_place(self, name: str, place: Place) -> None:
        there = place.name or name
        if (place.in_ == "path") != (name in self.variables):
            raise ValueError(f"{name} goes to the path if {{{name}}} stands in url, and only then")
        if place.in_ == "header":
            taken = {"header", there.lower()} <= {part.lower() for part in self.auth_place or ()}
            if taken or not is_free(there) or there.lower() in CREDENTIALS:
                raise ValueError(f"{name} can't go to the header {there[:40]!r}")
        if place.in_ == "query" and self.auth_place == ("query", there):
            raise ValueError(f"{name} can't go where the secret goes")

    def _check_body(self) -> None:
        places = [self.place(name).in_ for name in self.properties]
        whole, fields = places.count("body"), places.count("field")
        if whole > 1 or (whole and fields):
            raise ValueError("one argument may be the body, or several may be its fields")
        if (whole or fields) and self.method in ("GET", "HEAD"):
            raise ValueError(f"{self.method} has no body")


def check_name(name: str) -> str:
    """Return the name of an HTTP tool.

    Raises:
        ValueError: a model could not use it, or it means something else.
    """
    if len(name) > NAME_MAX or not re.fullmatch(NAME, name):
        raise ValueError(f"a name is a letter, then letters, digits, - and single _, at most {NAME_MAX} in all")
    if name in RESERVED:
        raise ValueError(f"the name {name} is taken by Umbel")
    return name


def check_parameters(schema: dict[str, Any]) -> None:
    """Check that a JSON schema can be one of arguments.

    Raises:
        ValueError: it is not of an object, too long, or no schema; references may stay inside it only.
    """
    properties = schema.get("properties", {})
    if schema.get("type") != "object" or not isinstance(properties, dict):
        raise ValueError('the schema must be of an object: {"type": "object", "properties": …}')
    if strange := [name for name in properties if not _VARIABLE.fullmatch(name)]:
        raise ValueError(f"{strange[0][:100]!r} can't be the name of an argument")
    if "2020-12" not in str(schema.get("$schema", "2020-12")):
        raise ValueError("a schema is one of draft 2020-12")
    try:
        if len(json.dumps(schema)) > SCHEMA_MAX:
            raise ValueError(f"the schema is longer than {SCHEMA_MAX} characters")
        Expanded(schema).check()
        compiled(schema)
    except RecursionError:
        raise ValueError("the schema is nested too deeply") from None
    except SCHEMA_ERRORS as error:
        raise ValueError(f"not a usable JSON schema: {(str(error).splitlines() or [''])[0][:300]}") from None


def _check_url(url: str) -> None:
    if any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise ValueError("a URL has no spaces or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("this is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("the URL must be absolute: https://host/path")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("a URL has no user, password or fragment here; secrets go to auth")
    if "{" in parts.netloc or "}" in parts.netloc:
        raise ValueError("arguments can't stand in the host of a URL")
    for variable in _BRACED.findall(url):
        if not _VARIABLE.fullmatch(variable):
            raise ValueError(f"only {{name}} is understood in a URL, not {{{variable[:40]}}}")
    if set("{}") & set(_BRACED.sub("", url)):
        raise ValueError("a brace of the URL is not closed, or not opened")
