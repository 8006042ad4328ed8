"""The front: validates, writes a row, rings, reads back. Flask on gunicorn with gevent; one port for everything."""

from flask import Flask
from flask_openapi3.openapi import OpenAPI

from config.settings import Settings, get_settings
from web import auth, docs, errors, health, page, requests
from web.api import (
    agents,
    approvals,
    artifacts,
    editors,
    events,
    files,
    indexes,
    mcp_servers,
    messages,
    models,
    pattern_graphs,
    patterns,
    projects,
    providers,
    rag,
    sessions,
    streams,
    tasks,
    tickets,
    tools,
    usage,
    workflows,
)
from web.cli import keys_cli, secrets_cli
from web.json import Json
from web.schemas.common import Problem
from web.services import EXTENSION, open_services

APIS = (
    health,
    tasks,
    messages,
    approvals,
    agents,
    sessions,
    tools,
    providers,
    mcp_servers,
    files,
    artifacts,
    projects,
    editors,
    pattern_graphs,
    patterns,
    rag,
    models,
    usage,
    indexes,
    events,
    tickets,
    workflows,
)


def create_app(settings: Settings | None = None) -> Flask:
    """Make the application; it connects to nothing until it is asked something.

    Args:
        settings: instead of the environment's, for tests.
    """
    settings = settings or get_settings()
    app = OpenAPI(
        __name__, info=docs.INFO, security_schemes=docs.SECURITY, doc_ui=False, static_folder=None,
        validation_error_status=422, validation_error_model=Problem,
        openapi_extensions={"security": docs.EVERYWHERE},
    )  # fmt: skip
    app.json = Json(app)
    app.config[errors.BODY_LIMIT] = settings.max_body_bytes
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes + 1
    held = app.extensions[EXTENSION] = open_services(settings)
    requests.init_app(app)
    auth.init_app(app, held.keys)
    errors.init_app(app)
    for module in APIS:
        app.register_api(module.api)
    app.register_blueprint(streams.blueprint)
    app.register_blueprint(page.blueprint)
    docs.init_app(app)
    app.cli.add_command(keys_cli)
    app.cli.add_command(secrets_cli)
    return app
