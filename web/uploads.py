"""Takes in the file of a multipart body, straight to where it will be kept; memory holds a piece at a time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from flask import request
from werkzeug.formparser import FormDataParser

from models import media
from models.blobs import BlobStore, Incoming, Received, receiving
from models.errors import FileTooLarge
from web.errors import BadRequest, Invalid, UnsupportedMedia
from web.schemas.files import NAME

#: What a multipart body may hold beside its file.
AROUND = 64 * 1024
#: More than the pieces in which werkzeug reads, which it counts, too.
MEMORY = 512 * 1024
_NAME = re.compile(NAME)


class Upload(NamedTuple):
    """A file that has come in, under the name it is to have."""

    name: str
    media_type: str
    received: Received


@contextmanager
def uploaded(store: BlobStore, most: int) -> Iterator[Upload]:
    """Read the request's file; what is not kept of it is gone afterwards.

    Raises:
        UnsupportedMedia: the body is not multipart/form-data.
        BadRequest: it is cut off or malformed.
        Invalid: there is not exactly one part `file`, or its name is not one.
        FileTooLarge, TypeMismatch, StoreUnavailable: the file is refused, or can't be kept now.
    """
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMedia("Send the file as the part `file` of multipart/form-data.")
    if (request.content_length or 0) > most + AROUND:
        raise FileTooLarge(f"The file is larger than {most} bytes.")
    request.max_content_length = most + AROUND
    with receiving(store, most) as incoming:
        name, declared = _parse(incoming)
        received = incoming.received()
        yield Upload(name, media.media_type(received.head, name, declared), received)


def _parse(incoming: Incoming) -> tuple[str, str | None]:
    """Write the part `file` to `incoming`; return the file's name and the type it is said to have."""
    parts = iter([incoming])

    def into(*_: Any, **__: Any) -> Any:
        place = next(parts, None)
        if place is None:
            raise _invalid("Send one file in a request.")
        return place

    parser = FormDataParser(stream_factory=into, max_form_memory_size=MEMORY, max_form_parts=10, silent=False)
    try:
        _, form, files = parser.parse(request.stream, request.mimetype, request.content_length, request.mimetype_params)
    except ValueError as error:
        raise BadRequest("The multipart body is malformed or was cut off.") from error
    if (given := files.get("file")) is None:
        raise _invalid("Missing")
    return _named(form.get("name") or given.filename or ""), given.content_type


def _named(given: str) -> str:
    name = re.split(r"[/\\]", given)[-1].strip()
    if not _NAME.fullmatch(name):
        raise Invalid(fields=[{"field": "name", "message": "Not a file's name", "allowed": "1 to 255 characters"}])
    return name


def _invalid(message: str) -> Invalid:
    return Invalid("The body has no usable file.", [{"field": "file", "message": message}])
