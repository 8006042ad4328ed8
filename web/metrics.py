"""What is measured, in Prometheus' words. With PROMETHEUS_MULTIPROC_DIR set, all gunicorn workers are summed."""

from collections.abc import Iterable
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

REGISTRY = CollectorRegistry()
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_requests = Counter("http_requests", "Requests answered.", ["method", "route", "status"], registry=REGISTRY)
_durations = Histogram(
    "http_request_duration_seconds", "Time to answer, streams left out.", ["method", "route"], registry=REGISTRY
)
websockets = Gauge("websocket_connections", "Open WebSockets.", multiprocess_mode="livesum", registry=REGISTRY)
overflows = Counter("stream_overflows", "Times a slow reader fell back to rows.", registry=REGISTRY)


class _Rows(Collector):
    """Numbers read when asked for, rather than kept."""

    def __init__(self, runs: dict[str, int], queues: dict[str, int]) -> None:
        self._runs = runs
        self._queues = queues

    def collect(self) -> Iterable[Metric]:
        """Return the families; prometheus_client calls this."""
        yield _family("umbel_runs", "Open runs by status.", "status", self._runs)
        yield _family("umbel_queue_messages", "Doorbells waiting in Redis by queue.", "queue", self._queues)


def observe(method: str, route: str, status: int, seconds: float | None) -> None:
    """Count one answer; `seconds` is None for streams."""
    method = method if method in _METHODS else "OTHER"
    _counted(method, route, status).inc()
    if seconds is not None:
        _timed(method, route).observe(seconds)


@lru_cache(maxsize=1024)
def _counted(method: str, route: str, status: int) -> Counter:
    return _requests.labels(method, route, str(status))


@lru_cache(maxsize=1024)
def _timed(method: str, route: str) -> Histogram:
    return _durations.labels(method, route)


def render(runs: dict[str, int], queues: dict[str, int]) -> bytes:
    """Return the exposition text."""
    rows = CollectorRegistry()
    rows.register(_Rows(runs, queues))
    return b"".join(generate_latest(registry) for registry in (_processes(), rows))


def _processes() -> CollectorRegistry:
    registry = CollectorRegistry()
    try:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    except ValueError:  # no shared directory is set: this process's own numbers
        return REGISTRY
    return registry


def _family(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family
