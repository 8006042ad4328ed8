"""The page in a browser: tasks, and one of them live. It holds no data; its script asks the API."""

from flask import Blueprint, Response

blueprint = Blueprint("page", __name__, static_folder="pages", static_url_path="/page")


@blueprint.get("/")
def home() -> Response:
    """Give the page."""
    return blueprint.send_static_file("home.html")
