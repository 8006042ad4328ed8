"""The faults: each a module's `FAULTS`, named after the rows of the matrix in docs/reliability.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.field import Field

#: Modules of this package, in the order their faults are injected.
MODULES = (
    *("workers", "servers", "network", "connections", "clock", "doorbells"),
    *("submits", "maintenance", "poison", "streams"),
)


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        name: as `--only` and reports call it.
        matrix: its row in the fault matrix, `F6`.
        inject: blocks until the fault is over and everything it touched is up again; draws every choice from the
            `random.Random` it is given, and reports what must hold at once and does not through `field.violated`.
    """

    name: str
    matrix: str
    inject: Callable[[Field], None]


def registry() -> dict[str, Fault]:
    """Return every fault by its name."""
    return {fault.name: fault for fault in _all()}


def _all() -> Iterator[Fault]:
    for name in MODULES:
        yield from import_module(f"chaos.faults.{name}").FAULTS
