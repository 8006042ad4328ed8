"""Input and result of the probe workflow."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, model_validator

from models.artifact_types import ArtifactType
from models.repositories.approvals import EXPIRES_MAX_S, EXPIRES_S
from models.tasks import Effect


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Call(_Strict):
    """An HTTP request; the step's idempotency key goes along as `Idempotency-Key`."""

    url: Annotated[HttpUrl, Field(description="Absolute http(s) URL.")]
    method: Literal["GET", "POST", "PUT", "DELETE"] = "POST"
    body: dict[str, Any] | None = None
    effect: Effect = Effect.IDEMPOTENT


class Fail(_Strict):
    """Fails the first `times` times it is tried."""

    times: Annotated[int, Field(ge=1, le=100)] = 1
    retryable: bool = True
    retry_after_s: Annotated[float, Field(ge=0, le=3600)] | None = None


class Ask(_Strict):
    """Asks a person for an approval; the answer is the step's result."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    args: dict[str, Any] = {}
    expires_s: Annotated[float, Field(gt=0, le=EXPIRES_MAX_S, description="Then `on_expiry` is the answer.")] = (
        EXPIRES_S
    )
    on_expiry: Literal["approve", "reject"] = "reject"


class Start(_Strict):
    """A task to start; with others of its step, all are waited for."""

    workflow: Annotated[str, Field(min_length=1, max_length=200)]
    input: dict[str, Any]


class Keep(_Strict):
    """Keeps a text as an artifact; the same name again is its next version."""

    name: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
    content: Annotated[str, Field(max_length=1_000_000)] = ""
    type: ArtifactType = ArtifactType.DOCUMENT


class ProbeStep(_Strict):
    """Exactly one of the six."""

    wait_s: Annotated[float, Field(ge=0, le=86_400, description="Seconds to wait.")] | None = None
    call: Call | None = None
    fail: Fail | None = None
    ask: Ask | None = None
    tasks: Annotated[list[Start], Field(min_length=1, max_length=20)] | None = None
    say: Annotated[str, Field(max_length=20_000, description="Text to stream as deltas.")] | None = None
    keep: Keep | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "ProbeStep":
        if len(self.model_fields_set) != 1 or getattr(self, next(iter(self.model_fields_set))) is None:
            raise ValueError("give exactly one of wait_s, call, fail, ask, tasks, say, keep")
        return self


class ProbeInput(_Strict):
    """The steps to carry out, in order."""

    steps: Annotated[list[ProbeStep], Field(max_length=1000)]


class ProbeResult(BaseModel):
    """What each step gave, in order."""

    steps: list[dict[str, Any]]
