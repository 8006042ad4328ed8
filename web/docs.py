"""The OpenAPI document and the page that shows it; every file of the page is served from here."""

from typing import Any

from flask import Blueprint, redirect
from flask.typing import ResponseReturnValue
from flask_openapi3.models.info import Info
from flask_openapi3.models.security_scheme import SecurityScheme
from flask_openapi3.openapi import OpenAPI
from flask_openapi3_swagger.plugins import RegisterPlugin

from config.version import VERSION

INFO = Info(
    title="Umbel",
    version=VERSION,
    summary="Runs agent tasks to the end, once.",
    description=(
        "Submit a task, watch it live, leave and resume watching at any point, stop it, and read why it did "
        "what it did.\n\n"
        "Streams: `WS /v1/tasks/{id}/stream?after=N` sends the events from N+1 on and closes after the last one. "
        '`WS /v1/stream` takes `{"action": "subscribe", "task_id": ..., "after": N}` for many tasks on one socket. '
        "A browser opens them with a ticket from `POST /v1/stream-tickets`."
    ),
)
SECURITY: dict[str, SecurityScheme | dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
}
EVERYWHERE: list[dict[str, list[Any]]] = [{"bearer": []}, {"header": []}]
blueprint = Blueprint("docs", __name__)


def init_app(app: OpenAPI) -> None:
    """Serve the document at /openapi.json and the page at /docs."""
    app.register_blueprint(RegisterPlugin.register(doc_url="../openapi.json"), url_prefix="/docs")
    app.register_blueprint(blueprint)
    app.add_url_rule("/openapi.json", "docs.openapi", lambda: app.api_doc)


@blueprint.get("/docs")
def page() -> ResponseReturnValue:
    """Lead to the page."""
    return redirect("/docs/swagger")
