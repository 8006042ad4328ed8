"""calculator: arithmetic with units. Numbers are bounded at every operation, so nothing takes long.

Units are pint's. Its own parser is not used: it evaluates `9**9**9` without end.
"""

import ast
import asyncio
import math
import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import pint
from pydantic import Field

from models.tasks import Effect
from worker.tools.base import Arguments, Refused, Tool, ToolCall
from worker.tools.notation import Unreadable, explicit

#: A whole number has at most this many bits (about 1,200 digits); a unit's power is at most this large.
BITS_MAX = 4096
UNIT_POWER_MAX = 32
NODES_MAX = 300
DIGITS_MAX = 300

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(math, name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "exp", "log10", "log2")},
    **{name: getattr(math, name) for name in ("floor", "ceil", "log", "degrees", "radians", "hypot")},
    "ln": math.log,
    "abs": abs,
    "min": min,
    "max": max,
    "round": lambda value, digits=0: _rounded(value, digits),
}
_NAMES = frozenset({*_FUNCTIONS, "sqrt"})
_CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class CalculatorArguments(Arguments):
    """What to compute, and the unit of the answer."""

    expression: str = Field(
        min_length=1, max_length=500, description="Such as 3 (4 + 5), sqrt(2), 2^10, 5 km + 300 m, 20 degC."
    )
    to: str | None = Field(None, min_length=1, max_length=60, description="Unit of the answer, such as km/hour, degF.")


async def run(args: CalculatorArguments, call: ToolCall) -> dict[str, Any]:
    """Compute; the answer has `value`, `unit` (empty without one) and `text`."""
    await asyncio.to_thread(_units)  # reading the definitions takes a second, once
    try:
        result = _evaluate(args.expression)
        if args.to is not None:
            target = _quantity(_evaluate(args.to))
            result = _quantity(result).to(target.units)
        return _answer(result)
    except (pint.PintError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
        raise Refused(f"can't compute this: {error}") from None


@cache
def _units() -> pint.UnitRegistry[Any]:
    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


def _evaluate(expression: str) -> Any:
    try:
        tree = ast.parse(explicit(expression, _NAMES), mode="eval")
    except Unreadable as error:
        raise Refused(f"not an arithmetic expression: {error}") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Refused(f"not an arithmetic expression: {expression[:80]!r}") from None
    if sum(1 for _ in ast.walk(tree)) > NODES_MAX:
        raise Refused("the expression is too long; compute it in parts")
    return _value(tree.body)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(number)
        case ast.Name(id=name):
            return _named(name)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            value = _value(inner)
            return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _bounded(_OPERATORS[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]):
            return _called(name, [_value(each) for each in given])
    raise Refused(f"only numbers, units, + - * / // % ^ and functions are allowed, not {type(node).__name__}")


def _named(name: str) -> Any:
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    if len(name) > 40:
        raise Refused("there is no such unit")
    return _units().Quantity(1, _units().Unit(name))


def _called(name: str, given: list[Any]) -> Any:
    if name == "sqrt" and len(given) == 1:
        return _power(given[0], 0.5)
    if name not in _FUNCTIONS:
        raise Refused(f"there is no function {name}; there are sqrt, {', '.join(sorted(_FUNCTIONS))}")
    if name in ("abs", "min", "max", "round"):
        return _FUNCTIONS[name](*given)
    return _bounded(_FUNCTIONS[name](*(_plain(each) for each in given)))


def _rounded(value: Any, digits: Any) -> Any:
    if not isinstance(digits, int) or abs(digits) > DIGITS_MAX:  # a power of ten is computed for them
        raise Refused(f"round takes -{DIGITS_MAX} to {DIGITS_MAX} digits")
    return round(value, digits) if digits else round(value)


def _power(base: Any, exponent: Any) -> Any:
    exponent = _plain(exponent)
    if isinstance(base, pint.Quantity) and not base.dimensionless:
        if abs(exponent) > UNIT_POWER_MAX:
            raise Refused(f"a unit's power is at most {UNIT_POWER_MAX}")
        return _bounded(base**exponent)
    base = _plain(base)
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and abs(base) > 1 and base.bit_length() * exponent > 2 * BITS_MAX:  # decided before it is computed
        raise Refused("the result is too large")
    return _bounded(base**exponent)


def _plain(value: Any) -> Any:
    """Return a number; a quantity must be dimensionless (angles are in radians)."""
    return value.to("").magnitude if isinstance(value, pint.Quantity) else value


def _bounded(value: Any) -> Any:
    number = value.magnitude if isinstance(value, pint.Quantity) else value
    if isinstance(number, complex):
        raise Refused("the result is not a real number")
    if isinstance(number, int) and number.bit_length() > BITS_MAX:
        raise Refused("the result is too large")
    return value


def _quantity(value: Any) -> "pint.Quantity[Any]":
    return value if isinstance(value, pint.Quantity) else _units().Quantity(value)


def _answer(result: Any) -> dict[str, Any]:
    quantity = _quantity(result)
    number, unit = quantity.magnitude, "" if quantity.unitless else str(quantity.units)
    if isinstance(number, float) and not math.isfinite(number):
        raise Refused("the result is infinite or not a number")
    shown = f"{number:.15g}" if isinstance(number, float) else str(number)
    # Numbers beyond 2**53 would lose digits in readers of JSON; they travel as text.
    exact = number if isinstance(number, float) or abs(number) < 2**53 else shown
    return {"value": exact, "unit": unit, "text": f"{shown} {unit}".strip()}


CALCULATOR = Tool(
    name="calculator",
    description="Computes arithmetic exactly, with units and their conversion.",
    arguments=CalculatorArguments,
    effect=Effect.PURE,
    run=run,
)
