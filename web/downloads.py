"""Sends kept bytes: whole or in ranges, and so that no browser takes them for a page of ours."""

from urllib.parse import quote

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import FileWrapper

from models.blobs import BlobStore

PIECE = 256 * 1024
#: Beside `default-src 'none'`, which every answer has: scripts, forms and plugins do not run, and it has no origin.
_POLICY = "sandbox"


def send(store: BlobStore, sha256: str, size: int, name: str, media_type: str) -> Response:
    """Answer with bytes of the store as a download; ranges and conditions of the request are heeded.

    Raises:
        RequestedRangeNotSatisfiable: the range lies outside.
        StoreUnavailable: the bytes can't be read now.
    """
    file = store.open(sha256, size)
    body = FileWrapper(file, PIECE)
    response = Response(body, content_type=_content_type(media_type), direct_passthrough=True)
    response.content_length = size
    response.set_etag(sha256)
    response.headers["Content-Disposition"] = disposition(name)
    response.headers["Content-Security-Policy"] = _POLICY
    try:
        response.make_conditional(request, accept_ranges=True, complete_length=size)
    except RequestedRangeNotSatisfiable:
        file.close()
        raise
    return response


def disposition(name: str) -> str:
    """Return the header that makes a browser save the file under its name, whatever letters it has."""
    plain = "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\%' else "_" for letter in name
    )
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _content_type(media_type: str) -> str:
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
