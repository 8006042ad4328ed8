"""From an OpenAPI document to HTTP tools: each operation by itself, so that one that can't be taken stops no other."""

from web.openapi.document import Document, Unusable
from web.openapi.operations import Made, NotTaken, Options, taken

__all__ = ["Document", "Made", "NotTaken", "Options", "Unusable", "taken"]
