"""What of an agent's limits goes to agents it starts: shared out before they begin, settled when they have ended."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Share:
    """Steps, tokens and USD; None where there is no limit."""

    steps: int = 0
    tokens: int | None = None
    usd: Decimal | None = None

    def parted(self, parts: int) -> "Share":
        """Return one of equal parts."""
        tokens = None if self.tokens is None else self.tokens // parts
        return Share(self.steps // parts, tokens, None if self.usd is None else self.usd / parts)

    @property
    def nothing(self) -> bool:
        """Whether an agent could not do anything with it."""
        return (
            self.steps < 1 or (self.tokens is not None and self.tokens < 1) or (self.usd is not None and self.usd <= 0)
        )

    def within(self, limits: dict[str, Any], steps: int) -> dict[str, Any]:
        """Return an agent's `limits`, narrowed to this share; `steps` is what they allow if they do not say."""
        narrowed = limits | {"max_steps": min(limits.get("max_steps") or steps, self.steps)}
        if self.tokens is not None:
            narrowed["max_tokens"] = min(limits.get("max_tokens") or self.tokens, self.tokens)
        if self.usd is not None:
            narrowed["max_usd"] = min(limits.get("max_usd") or float(self.usd), float(self.usd))
        return narrowed

    @classmethod
    def lent(cls, limits: dict[str, Any]) -> "Share":
        """Return what is set aside for a child with these `limits`."""
        usd = limits.get("max_usd")
        return cls(limits.get("max_steps") or 0, limits.get("max_tokens"), None if usd is None else Decimal(str(usd)))

    @classmethod
    def used(cls, usage: dict[str, Any]) -> "Share":
        """Return what a child that has ended really took."""
        tokens = int(usage.get("input_tokens") or 0) + int(usage.get("output_tokens") or 0)
        return cls(int(usage.get("steps") or 0), tokens, Decimal(str(usage.get("usd") or 0)))
