"""json_transform: JMESPath in a process of its own, bounded in time, memory and size."""

from typing import Any

import pytest

from models.tasks import Effect
from worker.tools.base import Refused, ToolCall
from worker.tools.transform import JSON_TRANSFORM


async def transform(expression: str, data: Any) -> Any:
    args = JSON_TRANSFORM.validate({"expression": expression, "data": data})
    return await JSON_TRANSFORM.run(args, ToolCall(JSON_TRANSFORM, args, Effect.PURE, "key"))


ITEMS = {"items": [{"name": "a", "price": 5}, {"name": "b", "price": 15}, {"name": "ü", "price": 25}]}


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("items[?price > `10`].name", ["b", "ü"]),
        ("length(items)", 3),
        ("sum(items[].price)", 45),
        ("items[0].{n: name}", {"n": "a"}),
        ("nothing", None),
    ],
)
async def test_expressions(expression: str, wanted: Any) -> None:
    assert await transform(expression, ITEMS) == wanted


@pytest.mark.parametrize("expression", ["items[", "nope(@)", "sum(items)", "'"])
async def test_a_wrong_expression_is_refused_with_the_reason(expression: str) -> None:
    with pytest.raises(Refused, match="not a valid expression"):
        await transform(expression, ITEMS)


async def test_an_expression_that_doubles_without_end_is_stopped() -> None:
    with pytest.raises(Refused, match=r"more than|too large"):
        await transform(" | ".join(["[@, @]"] * 60), "x" * 100)


async def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Refused):
        await transform("[" * 450 + "@" + "]" * 450, {})


async def test_data_that_is_too_large_is_refused() -> None:
    with pytest.raises(Refused, match="larger than"):
        await transform("@", "x" * 200_001)
