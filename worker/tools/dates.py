"""datetime: the time now, in another zone, between two moments, or so much later."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from models.tasks import Effect
from worker.tools.base import Arguments, Refused, Tool, ToolCall

Moment = Annotated[str, Field(max_length=64, description="ISO 8601, such as 2026-03-29T01:30:00+01:00.")]


class DatetimeArguments(Arguments):
    """What to do, and with which moments."""

    operation: Literal["now", "convert", "difference", "shift"]
    time: Moment | None = Field(None, description="The moment to convert or shift, or the earlier of a difference.")
    until: Moment | None = Field(None, description="The later moment of a difference.")
    zone: str = Field("UTC", max_length=64, description="IANA zone of the answer, and of moments without an offset.")
    seconds: float | None = Field(None, ge=-1e11, le=1e11, description="For shift: seconds to add.")


async def run(args: DatetimeArguments, call: ToolCall) -> dict[str, Any]:
    """Do the operation; times come back in the zone asked for."""
    zone = _zone(args.zone)
    try:
        return _OPERATIONS[args.operation](args, zone)
    except OverflowError:
        raise Refused("the answer is outside the years 1 to 9999") from None


def _now(args: DatetimeArguments, zone: ZoneInfo) -> dict[str, Any]:
    return _shown(datetime.now(UTC).astimezone(zone))


def _convert(args: DatetimeArguments, zone: ZoneInfo) -> dict[str, Any]:
    return _shown(_moment("time", args.time, zone).astimezone(zone))


def _difference(args: DatetimeArguments, zone: ZoneInfo) -> dict[str, Any]:
    # Both in UTC: Python subtracts wall clocks of one zone, which is an hour wrong across a change of clocks.
    start, end = (_moment(*each, zone).astimezone(UTC) for each in (("time", args.time), ("until", args.until)))
    between = end - start
    return {"seconds": between.total_seconds(), "days": between / timedelta(days=1), "text": str(between)}


def _shift(args: DatetimeArguments, zone: ZoneInfo) -> dict[str, Any]:
    if args.seconds is None:
        raise Refused("shift needs `seconds`")
    return _shown((_moment("time", args.time, zone).astimezone(UTC) + timedelta(seconds=args.seconds)).astimezone(zone))


_OPERATIONS = {"now": _now, "convert": _convert, "difference": _difference, "shift": _shift}


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refused(f"there is no time zone {name!r}; use an IANA name such as Europe/Berlin") from None


def _moment(name: str, given: str | None, zone: ZoneInfo) -> datetime:
    if given is None:
        raise Refused(f"this operation needs `{name}`")
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise Refused(f"`{name}` is not an ISO 8601 time: {given[:40]!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _shown(moment: datetime) -> dict[str, Any]:
    about = {"weekday": f"{moment:%A}", "week": moment.isocalendar().week, "zone": moment.tzname()}
    return {"time": moment.isoformat(), "unix": moment.timestamp(), **about}


DATETIME = Tool(
    name="datetime",
    description="Tells the time now, converts a time to a zone, measures between two times, or shifts one.",
    arguments=DatetimeArguments,
    effect=Effect.PURE,
    run=run,
)
