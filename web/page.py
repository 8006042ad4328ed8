"""The page in a browser: tasks, and one of them live. It holds no data; its script asks the API."""

from pathlib import Path

from flask import Blueprint, Response

blueprint = Blueprint("page", __name__, static_folder="pages", static_url_path="/page")
_HOME = Path(__file__).with_name("pages") / "home.html"


@blueprint.get("/")
def home() -> Response:
    """Give the page."""
    return Response(_HOME.read_bytes(), content_type="text/html; charset=utf-8")
