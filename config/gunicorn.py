"""gunicorn for the front: `gunicorn -c config/gunicorn.py "web:create_app()"`. Values come from the settings."""

import gc
import logging
import os
import threading
import time
from typing import Any

from config import logging as json_logging
from config.settings import get_settings

_settings = get_settings()

bind = f"{_settings.web_host}:{_settings.web_port}"
workers = _settings.web_workers
worker_class = "gevent"
worker_connections = _settings.web_connections
timeout = 60
graceful_timeout = 15
keepalive = 75
limit_request_line = 8190
accesslog = None  # one JSON line per request comes from web/requests.py
backlog = 2048
proc_name = "umbel-web"
control_socket_disable = True  # it would lie in the home directory, shared by every stack of the user


def on_starting(server: Any) -> None:
    """Log as the rest of the product does, and do not tell the world what we are."""
    import gunicorn.http.wsgi  # type: ignore[import-untyped]

    gunicorn.http.wsgi.SERVER = "umbel"
    _log_as_json()


def post_fork(server: Any, worker: Any) -> None:
    """Make everything cooperative before the application is imported."""
    from gevent import monkey

    monkey.patch_all()
    _make_psycopg_cooperative()
    _log_as_json()


def post_worker_init(worker: Any) -> None:
    """End the streams as soon as the worker is to stop: server-sent ones would hold it up for all of graceful_timeout.

    What was loaded until now stays for good, so the garbage collector need not look at it again.
    """
    gc.collect()
    gc.freeze()
    threading.Thread(target=_close_streams_at_exit, args=(worker,), daemon=True).start()


def worker_exit(server: Any, worker: Any) -> None:
    """Let WebSockets say goodbye: gunicorn does not wait for them, their requests ended long ago."""
    if worker.pid == os.getpid() and worker.wsgi is not None:
        worker.wsgi.extensions["umbel"].hub.close()


def child_exit(server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that ended, where metrics are shared."""
    from prometheus_client import multiprocess

    try:
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
    except TypeError:  # no PROMETHEUS_MULTIPROC_DIR
        return


def _log_as_json() -> None:
    json_logging.set_up(_settings)
    own = logging.getLogger("gunicorn.error")
    own.handlers.clear()
    own.propagate = True


def _close_streams_at_exit(worker: Any) -> None:
    while worker.alive:
        time.sleep(0.2)
    worker.wsgi.extensions["umbel"].hub.close()


def _make_psycopg_cooperative() -> None:
    """Let psycopg2 wait without blocking other requests, and not for ever: waiting this way libpq has no timeouts."""
    import psycopg2
    from gevent.socket import wait_read, wait_write
    from psycopg2 import extensions

    connect_s, statement_s = _settings.database_connect_timeout_s, _settings.statement_timeout_s + 5

    def wait(connection: Any) -> None:
        limit = statement_s if connection.status else connect_s
        while (state := connection.poll()) != extensions.POLL_OK:
            ready = wait_read if state == extensions.POLL_READ else wait_write
            try:
                ready(connection.fileno(), timeout=limit)
            except TimeoutError as error:
                raise psycopg2.OperationalError("PostgreSQL did not answer in time") from error

    extensions.set_wait_callback(wait)
