"""The emptiest Flask route, served by the product's own gunicorn configuration: the limit of what a route can cost."""

from types import SimpleNamespace

from flask import Flask, Response

app = Flask(__name__)
# What config/gunicorn.py closes when the worker stops.
app.extensions["umbel"] = SimpleNamespace(hub=SimpleNamespace(close=lambda: None))


@app.post("/")
@app.get("/")
def hello() -> Response:
    """Say something."""
    return Response("hello", content_type="text/plain")


@app.get("/healthz")
def healthz() -> Response:
    """Say that it answers."""
    return Response("ok")
