"""OTLP over HTTP, as JSON: how spans are written, and a thread that sends them.

Written by hand because OpenTelemetry's own SDK costs where it is not used, too: once it is installed, the Redis client
loads it into every process, the front's among them, which takes 0.16 s of CPU at each start.
"""

import json
import logging
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from config.version import VERSION

#: Kinds of spans, by the protocol.
INTERNAL, CLIENT = 1, 3
FAILED = 2
#: Spans in one request, spans kept while nobody takes them, and seconds between two requests.
BATCH, KEPT, EVERY_S = 500, 20_000, 2.0
TIMEOUT_S = 10.0
#: Seconds before each further try, and answers that ask for one.
PAUSES_S = (1.0, 3.0, 9.0)
RETRIED = frozenset({429, 502, 503, 504})
#: Seconds that a process which ends waits for the last spans to be taken.
CLOSE_S = 5.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Span:
    """Something that began and ended; times in nanoseconds since 1970."""

    trace_id: int
    span_id: int
    parent_id: int | None
    name: str
    kind: int
    began: int
    ended: int = 0
    failed: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the protocol's form: ids in hexadecimal, large numbers as text."""
        parent = {"parentSpanId": f"{self.parent_id:016x}"} if self.parent_id is not None else {}
        return parent | {
            "traceId": f"{self.trace_id:032x}",
            "spanId": f"{self.span_id:016x}",
            "name": self.name,
            "kind": self.kind,
            "startTimeUnixNano": str(self.began),
            "endTimeUnixNano": str(self.ended),
            "attributes": [*_attributes(self.attributes)],
            "status": {"code": FAILED} if self.failed else {},
        }


def encode(spans: Iterable[Span]) -> bytes:
    """Return the body of a request that hands over spans."""
    about = {"attributes": [*_attributes({"service.name": "umbel", "service.version": VERSION})]}
    scope = {"scope": {"name": "umbel", "version": VERSION}, "spans": [span.as_json() for span in spans]}
    return json.dumps({"resourceSpans": [{"resource": about, "scopeSpans": [scope]}]}).encode()


def _attributes(values: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for name, value in values.items():
        if isinstance(value, bool):
            yield {"key": name, "value": {"boolValue": value}}
        elif isinstance(value, int):
            yield {"key": name, "value": {"intValue": str(value)}}
        elif isinstance(value, float):
            yield {"key": name, "value": {"doubleValue": value}}
        else:
            yield {"key": name, "value": {"stringValue": str(value)}}


class Sender:
    """Sends spans to `url` from a thread of its own; whoever puts them never waits."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = {**headers, "Content-Type": "application/json", "User-Agent": f"umbel/{VERSION}"}
        # Not through a proxy of the environment: no setting of ours says so.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._waiting: deque[Span] = deque()
        self._closing = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def put(self, span: Span) -> None:
        """Take a span; it is left out if too many wait already."""
        if len(self._waiting) < KEPT:
            self._waiting.append(span)

    def close(self) -> None:
        """Send what is left, once, and stop; blocks for at most some seconds."""
        self._closing.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._closing.wait(EVERY_S):
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._send(batch)

    def _send(self, batch: Sequence[Span]) -> None:
        body, why = encode(batch), ""
        for pause in (*PAUSES_S, 0.0):
            why, again = self._post(body)
            if not why or not again or self._closing.wait(pause):
                break
        if why and not self._away:
            log.warning("spans can't be sent", extra={"reason": why, "spans": len(batch)})
        self._away = bool(why)

    def _post(self, body: bytes) -> tuple[str, bool]:
        """Return why the spans were not taken, empty if they were, and whether to try again."""
        request = urllib.request.Request(self._url, body, self._headers)  # noqa: S310 - the setting takes http(s) only
        try:
            with self._opener.open(request, timeout=TIMEOUT_S):
                return "", False
        except urllib.error.HTTPError as error:
            error.close()
            return f"HTTP {error.code}", error.code in RETRIED
        except (OSError, ValueError) as error:
            return type(error).__name__, True
