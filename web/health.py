"""Is the process alive, is it ready, and what does it measure?"""

from typing import Any

from flask import Response, g
from prometheus_client import CONTENT_TYPE_LATEST

from config.version import VERSION
from models.repositories import health
from models.repositories.accounts import OPERATIONS_SCOPE
from models.scope import OPERATIONS
from tasks import dispatch
from web import metrics
from web.binding import Api
from web.schemas.health import Alive, Ready
from web.services import services

#: Without these no task can be accepted; without the others work is accepted and waits.
NEEDED = ("database", "migrations")

api = Api("health", __name__)


@api.get("/healthz", summary="Is the process alive?", responses={200: Alive}, security=[])
def healthz() -> dict[str, str]:
    """Answer without touching anything."""
    return {"status": "ok", "version": VERSION}


@api.get("/readyz", summary="Is the system ready?", responses={200: Ready, 503: Ready}, security=[])
def readyz() -> tuple[dict[str, Any], int]:
    """Check every dependency; 503 only if tasks can't be accepted."""
    checks = services().readiness.report()
    if not all(checks[name]["ok"] for name in NEEDED):
        status, code = "unavailable", 503
    else:
        status, code = ("ready" if all(check["ok"] for check in checks.values()) else "degraded"), 200
    return {"status": status, "version": VERSION, "checks": checks}, code


@api.get("/metrics", summary="Prometheus metrics")
def prometheus() -> Response:
    """Runs are counted for the key's account; a key with the scope `operations` sees all."""
    scope = OPERATIONS if OPERATIONS_SCOPE in g.key_scopes else g.scope
    runs = services().database.read(lambda connection: health.open_runs(connection, scope))
    queues = dispatch.queue_lengths() or {}
    return Response(metrics.render(runs, queues), content_type=CONTENT_TYPE_LATEST)
