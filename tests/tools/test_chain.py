"""How tools are run: arguments first, the middleware in order, the time limit, the shape and size of results."""

import asyncio
import json
import logging
from typing import Any

import pytest

from models.tasks import Effect, Waiting
from worker.errors import Parked, StepFailed
from worker.tools.base import (
    Arguments,
    ArgumentsRefused,
    Broken,
    NotPermitted,
    Refused,
    TimedOut,
    Tool,
    ToolCall,
    ToolError,
    ToolResult,
    text,
)
from worker.tools.chain import CHAIN, RESULT_MAX, Middleware, carry_out
from worker.tools.registry import Registry, built_in


class Given(Arguments):
    number: int = 0


def tool(
    give: Any = None, *, fail: BaseException | None = None, timeout_s: float = 30, effect: Effect = Effect.PURE
) -> Tool:
    async def run(args: Given, call: ToolCall) -> Any:
        if fail is not None:
            raise fail
        return await give if asyncio.isfuture(give) else give

    return Tool("one", "For tests.", Given, effect, run, timeout_s)


def call(which: Tool, *, allowed: frozenset[str] = frozenset({"one"})) -> ToolCall:
    args = which.validate({})
    return ToolCall(which, args, which.effect_of(args), "key", allowed=allowed)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("words", {"kind": "text", "text": "words"}),
        ({"a": [1, None]}, {"kind": "data", "data": {"a": [1, None]}}),
        (None, {"kind": "data", "data": None}),
        (text("x"), {"kind": "text", "text": "x"}),
        ("a\0b\ud800", {"kind": "text", "text": "a\N{REPLACEMENT CHARACTER}b?"}),
        ({"a\0": "\ud800"}, {"kind": "data", "data": {"a\N{REPLACEMENT CHARACTER}": "?"}}),
        ([float("nan"), float("-inf"), 1.5], {"kind": "data", "data": ["nan", "-inf", 1.5]}),
        ("key sk-abcdefghijklmnopqrstuvwx", {"kind": "text", "text": "key [redacted]"}),
        ({"password": "hunter22"}, {"kind": "data", "data": {"password": "[redacted]"}}),
    ],
)
async def test_results_have_one_of_three_shapes_and_can_be_recorded(given: Any, wanted: Any) -> None:
    assert (await carry_out(call(tool(given)))).as_json() == wanted


@pytest.mark.parametrize("given", ["x" * (RESULT_MAX + 1), {"long": ["ü" * 100] * 1000}, "\0" * (RESULT_MAX + 1)])
async def test_a_result_that_is_too_large_is_cut_and_says_so(given: Any) -> None:
    result = (await carry_out(call(tool(given)))).as_json()
    assert (result["kind"], len(result["text"]), result["truncated"]) == ("text", RESULT_MAX, True)


async def test_a_result_that_is_nested_too_deeply_is_an_error_of_the_tool() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(Broken, match="nested too deeply") as broken:
        await carry_out(call(tool(deep, effect=Effect.UNSAFE)))
    assert broken.value.ambiguous


async def test_a_tool_the_run_was_not_given_does_not_run() -> None:
    with pytest.raises(NotPermitted, match="this run may not use one; allowed: other"):
        await carry_out(call(tool(fail=AssertionError("it ran")), allowed=frozenset({"other"})))


async def test_a_call_is_stopped_at_its_time_limit_and_its_outcome_is_unknown() -> None:
    with pytest.raises(TimedOut, match="longer than 1 s") as late:
        await carry_out(call(tool(asyncio.get_running_loop().create_future(), timeout_s=1)))
    assert late.value.ambiguous


@pytest.mark.parametrize("timeout_s", [0, 0.5, 301, float("nan")])
def test_time_limits_are_within_bounds(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="a time limit is 1 to 300 s"):
        tool(timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("effect", "ambiguous"), [(Effect.PURE, False), (Effect.IDEMPOTENT, True), (Effect.UNSAFE, True)]
)
async def test_a_bug_is_told_without_its_words(
    effect: Effect, ambiguous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Broken) as broken:
        await carry_out(call(tool(fail=KeyError("private detail"), effect=effect)))
    assert "private detail" not in str(broken.value)
    assert "KeyError" in str(broken.value)
    assert broken.value.ambiguous is ambiguous
    assert "tool raised" in caplog.text


async def test_an_error_of_a_step_inside_is_an_error_of_the_tool() -> None:
    with pytest.raises(Broken, match="one failed: too much") as broken:
        await carry_out(call(tool(fail=StepFailed("too much", code="output_too_large"))))
    assert broken.value.detail["cause"] == "output_too_large"


@pytest.mark.parametrize("interrupt", [Parked(Waiting.PAUSED), asyncio.CancelledError()])
async def test_an_interrupt_passes_through(interrupt: BaseException) -> None:
    with pytest.raises(type(interrupt)):
        await carry_out(call(tool(fail=interrupt)))


async def test_secrets_in_errors_are_masked() -> None:
    with pytest.raises(Refused) as refused:
        await carry_out(call(tool(fail=Refused("no: password=hunter22", token="abcdefgh"))))
    assert refused.value.as_result().as_json() == {
        "kind": "error",
        "error": {"code": "tool_refused", "message": "no: password=[redacted]", "token": "[redacted]"},
    }


class Noting(Middleware):
    """Writes down when it is asked."""

    def __init__(self, name: str, notes: list[str], refuse: bool = False) -> None:
        self.name, self.notes, self.refuse = name, notes, refuse

    async def before(self, call: ToolCall) -> None:
        self.notes.append(f"before {self.name}")
        if self.refuse:
            raise Refused("not today")

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        self.notes.append(f"after {self.name}")
        return result

    async def on_error(self, call: ToolCall, error: ToolError) -> ToolError:
        self.notes.append(f"error {self.name}")
        return error


async def test_middleware_is_nested() -> None:
    notes: list[str] = []
    await carry_out(call(tool("x")), (Noting("a", notes), Noting("b", notes)))
    assert notes == ["before a", "before b", "after b", "after a"]


async def test_middleware_that_was_not_reached_is_not_asked_afterwards() -> None:
    notes: list[str] = []
    with pytest.raises(Refused):
        await carry_out(call(tool("x")), (Noting("a", notes), Noting("b", notes, refuse=True), Noting("c", notes)))
    assert notes == ["before a", "before b", "error a"]


async def test_the_audit_says_what_ran_and_never_with_what(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await carry_out(call(tool("the result")), CHAIN)
    (record,) = [each for each in caplog.records if each.message == "tool called"]
    said = vars(record)
    assert (said["tool"], said["effect"], said["outcome"]) == ("one", "pure", "ok")
    assert "the result" not in json.dumps(said, default=str)


def test_arguments_are_refused_naming_each_fault() -> None:
    with pytest.raises(ArgumentsRefused, match=r"one was not called: number: .*; more: "):
        tool().validate({"number": "x", "more": 1})


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="there is a tool 'one' already"):
        Registry([tool(), tool()])


def test_chosen_tools_come_in_order_of_name() -> None:
    assert list(built_in().chosen(["datetime", "calculator", "datetime"])) == ["calculator", "datetime"]


def test_an_unknown_tool_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="no tool nope; there are ask_human, calculator, datetime"):
        built_in().chosen(["nope", "datetime"])


@pytest.mark.parametrize("each", list(built_in()), ids=lambda each: each.name)
def test_every_tool_describes_itself_to_a_model(each: Tool) -> None:
    schema = each.schema()
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert each.description.endswith(".")
