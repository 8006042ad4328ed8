"""Liveness and readiness."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"]
    version: str


class Check(BaseModel):
    """One dependency; some have further fields, such as Redis' `policy`."""

    model_config = ConfigDict(extra="allow")

    ok: bool
    latency_ms: float | None
    detail: str
    cure: str | None


class Ready(BaseModel):
    """`ready`: all is well. `degraded`: work is accepted, but something is missing. `unavailable`: try elsewhere."""

    status: Literal["ready", "degraded", "unavailable"]
    version: str
    checks: dict[str, Check]
