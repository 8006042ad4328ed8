"""What a tool is, what it is handed, and what it gives back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from config.version import VERSION
from models.tasks import Effect

#: Time limit of a call in seconds, unless the tool says otherwise; and the bounds of what it may say.
TIMEOUT_S = 30.0
TIMEOUT_MIN_S = 1.0
TIMEOUT_MAX_S = 300.0


class Arguments(BaseModel):
    """Base of every tool's arguments: unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Attachment:
    """Bytes that belong to a result. `part` is their place in its data, where that is a list of parts."""

    media_type: str
    content: bytes
    part: int | None = None


class ToolResult(BaseModel):
    """What a call gave, in one of three shapes; this is what is recorded and shown to the model.

    Attributes:
        kind: which of the fields is set.
        text: for `text`.
        data: for `data`, any JSON value.
        error: for `error`, with `code` and `message`.
        truncated: whether the size cap cut something off.
        files: bytes that came with it; kept as artifacts, never recorded.
        artifacts: what was kept of it, each with `artifact_id`, `name`, `media_type` and `size`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    kind: Literal["text", "data", "error"]
    text: str | None = None
    data: Any = None
    error: dict[str, Any] | None = None
    truncated: bool = False
    files: list[Attachment] = []
    artifacts: list[dict[str, Any]] = []

    def as_json(self) -> dict[str, Any]:
        """Return the recorded form, without what is not set; `data` stays even when it is null."""
        value: dict[str, Any] = {"kind": self.kind, self.kind: getattr(self, self.kind)}
        value |= {"artifacts": self.artifacts} if self.artifacts else {}
        return value | ({"truncated": True} if self.truncated else {})


def text(value: str) -> ToolResult:
    """Make a result of text."""
    return ToolResult(kind="text", text=value)


def data(value: Any) -> ToolResult:
    """Make a result of a JSON value."""
    return ToolResult(kind="data", data=value)


class ToolError(Exception):
    """A tool could not do what it was asked; the model is told, and may try something else.

    Attributes:
        ambiguous: whether the effect may have happened although the call failed.
    """

    code: ClassVar[str] = "tool_failed"

    def __init__(self, message: str, *, ambiguous: bool = False, **detail: Any) -> None:
        super().__init__(message)
        self.ambiguous = ambiguous
        self.detail = detail

    def as_result(self) -> ToolResult:
        """Return what is recorded of this error."""
        return ToolResult(kind="error", error={"code": self.code, "message": str(self), **self.detail})


class Unreachable(ToolError):
    """A host can't be connected to; nothing was sent.

    Attributes:
        host: as `host:port`.
    """

    def __init__(self, message: str, host: str) -> None:
        super().__init__(message)
        self.host = host


class ArgumentsRefused(ToolError):
    """The arguments do not fit the tool's schema; nothing ran."""

    code = "tool_arguments"


class NotPermitted(ToolError):
    """The run may not use this tool."""

    code = "tool_forbidden"


class TimedOut(ToolError):
    """The call took longer than its time limit."""

    code = "tool_timeout"


class Refused(ToolError):
    """The tool's own rules forbid this call."""

    code = "tool_refused"


class NotConfigured(ToolError):
    """The worker lacks a setting the tool needs; the message names it."""

    code = "tool_not_configured"


class Changed(ToolError):
    """The tool is no longer what the run began with, or is gone."""

    code = "tool_changed"


class Broken(ToolError):
    """The tool raised something nobody declared: a bug."""

    code = "tool_broken"


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered to a tool that asked before it went on with an earlier try of the same call.

    Attributes:
        responses: an answer for each key that was asked.
        state: what the tool wants back with them.
    """

    responses: dict[str, Any]
    state: str | None = None


#: Keeps an attachment: its number in the result, the ending of its name, its type; returns the artifact.
KeepOne = Callable[[int, str, str, Attachment], Awaitable[dict[str, Any]]]


@dataclass(slots=True)
class ToolCall:
    """One call of a tool, as the tool and the middleware see it.

    Attributes:
        tool: what is called.
        args: its validated arguments.
        effect: what repeating this call would do.
        idempotency_key: the same on every try; send it along to the other side.
        attempt: which try this is, from 1.
        allowed: names the run may use.
        began: when it was begun, on the monotonic clock; set by the audit.
        account_id: whose run it is.
        cached: whether an earlier call's result answered it.
        fresh_s: how long its result may be given again, in seconds; None if its tool leaves that open.
        answers: what was answered to what the tool asked on the try before.
        keep: keeps an attachment of the result as an artifact; None outside of a run.
    """

    tool: "Tool"
    args: Any
    effect: Effect
    idempotency_key: str
    attempt: int = 1
    allowed: frozenset[str] = frozenset()
    began: float = 0.0
    account_id: UUID | None = None
    cached: bool = False
    fresh_s: float | None = None
    answers: Answers | None = None
    keep: KeepOne | None = None


EffectOf = Callable[[Any], Effect]


def _no_host(_: Any) -> str:
    return ""


@lru_cache(256)
def _schema(arguments: type[BaseModel]) -> dict[str, Any]:
    return arguments.model_json_schema()


@dataclass(frozen=True, slots=True)
class Tool:
    """Something a model may call.

    Attributes:
        name: what the model calls it by.
        description: told to the model; also the page's text.
        arguments: pydantic model of the arguments; its JSON schema goes to the model.
        effect: what repeating a call would do, or a function of the arguments that says so.
        run: does it and returns text, a JSON value or a ToolResult; raises ToolError.
        timeout_s: time limit of one call in seconds, 1 to 300.
        host: the `host:port` a call connects to, by its arguments; empty for none.
        approval: whether a person must approve each call, whatever the task says.
        cache_s: for how many seconds a result may be given again; None for as long as the setting says.
    """

    name: str
    description: str
    arguments: type[BaseModel]
    effect: Effect | EffectOf
    run: Callable[[Any, ToolCall], Awaitable[Any]]
    timeout_s: float = TIMEOUT_S
    host: Callable[[Any], str] = _no_host
    approval: bool = False
    cache_s: float | None = 0

    def __post_init__(self) -> None:
        if not TIMEOUT_MIN_S <= self.timeout_s <= TIMEOUT_MAX_S:
            raise ValueError(f"{self.name}: a time limit is {TIMEOUT_MIN_S:g} to {TIMEOUT_MAX_S:g} s")

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the arguments."""
        return _schema(self.arguments)

    def version(self) -> str:
        """Return what changes when the tool would give other results: by default Umbel's own version."""
        return VERSION

    def cache_for(self, usual_s: float) -> float:
        """Return for how many seconds a result may be given again; `usual_s` is the setting."""
        return usual_s if self.cache_s is None else self.cache_s

    def known_as(self) -> frozenset[str]:
        """Return the names that stand for this tool where tools are listed."""
        return frozenset({self.name})

    def validate(self, raw: Any) -> Any:
        """Return the arguments as the tool's model.

        Raises:
            ArgumentsRefused: they do not fit; the message names each field at fault.
        """
        try:
            return self.arguments.model_validate(raw)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}" for each in error.errors()]
            raise ArgumentsRefused(f"{self.name} was not called: {'; '.join(faults[:10])}") from None

    def effect_of(self, args: Any) -> Effect:
        """Return what repeating the call with these arguments would do."""
        return self.effect if isinstance(self.effect, Effect) else self.effect(args)
