"""datetime: moments, zones and the changes of clocks."""

from datetime import UTC, datetime
from typing import Any

import pytest

from models.tasks import Effect
from worker.tools.base import ArgumentsRefused, Refused, ToolCall
from worker.tools.dates import DATETIME


async def ask(**given: Any) -> Any:
    args = DATETIME.validate(given)
    return await DATETIME.run(args, ToolCall(DATETIME, args, Effect.PURE, "key"))


async def test_now_is_now_in_the_zone() -> None:
    answer = await ask(operation="now", zone="Asia/Tokyo")
    assert abs(answer["unix"] - datetime.now(UTC).timestamp()) < 5
    assert answer["time"].endswith("+09:00")


async def test_a_time_is_converted_between_zones() -> None:
    answer = await ask(operation="convert", time="2026-01-31T12:00:00Z", zone="America/New_York")
    assert answer["time"] == "2026-01-31T07:00:00-05:00"
    assert (answer["weekday"], answer["week"], answer["zone"]) == ("Saturday", 5, "EST")


async def test_a_time_without_an_offset_is_of_the_zone() -> None:
    answer = await ask(operation="convert", time="2026-07-01T12:00:00", zone="Europe/Berlin")
    assert answer["time"] == "2026-07-01T12:00:00+02:00"


async def test_a_difference_across_a_change_of_clocks_counts_real_seconds() -> None:
    # The night of 2026-03-29 has 23 hours in Berlin.
    answer = await ask(operation="difference", time="2026-03-29T00:00", until="2026-03-30T00:00", zone="Europe/Berlin")
    assert answer["seconds"] == 23 * 3600


async def test_a_shift_across_a_change_of_clocks_adds_real_seconds() -> None:
    answer = await ask(operation="shift", time="2026-03-29T00:00", seconds=86_400, zone="Europe/Berlin")
    assert answer["time"] == "2026-03-30T01:00:00+02:00"


async def test_a_difference_may_be_negative() -> None:
    answer = await ask(operation="difference", time="2026-01-02", until="2026-01-01")
    assert (answer["seconds"], answer["days"]) == (-86_400, -1)


@pytest.mark.parametrize(
    "given",
    [
        {"operation": "now", "zone": "Mars/Olympus"},
        {"operation": "now", "zone": "../../etc/passwd"},
        {"operation": "now", "zone": ""},
        {"operation": "convert"},
        {"operation": "convert", "time": "yesterday"},
        {"operation": "difference", "time": "2026-01-01"},
        {"operation": "shift", "time": "2026-01-01"},
        {"operation": "shift", "time": "9999-12-31", "seconds": 1e6},
        {"operation": "shift", "time": "0001-01-01", "seconds": -1e6},
        {"operation": "convert", "time": "0001-01-01T00:00:00+14:00", "zone": "America/New_York"},
        {"operation": "convert", "time": "9999-12-31T23:59:59-12:00", "zone": "Asia/Tokyo"},
    ],
)
async def test_what_cannot_be_told_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        await ask(**given)


@pytest.mark.parametrize("given", [{}, {"operation": "guess"}, {"operation": "now", "more": 1}])
def test_arguments_that_do_not_fit_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentsRefused, match="datetime was not called"):
        DATETIME.validate(given)
