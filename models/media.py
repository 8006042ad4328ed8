"""What bytes are, told by themselves and compared with what they are said to be."""

import mimetypes

import puremagic

from models.errors import TypeMismatch

UNKNOWN = "application/octet-stream"
TEXT = "text/plain"
#: Text, although the name of the type does not begin so.
_TEXTUAL = frozenset(
    f"application/{name}"
    for name in (
        *("json", "xml", "javascript", "typescript", "toml", "yaml", "sql", "graphql", "x-ndjson", "jsonl", "rtf"),
        *("sh", "csv", "ecmascript", "xhtml+xml", "postscript", "x-httpd-php", "x-tex", "x-latex"),
    )
)
#: Formats whose first bytes are always the same: what does not begin so is none.
_FIXED = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "application/gzip"})
_MEDIA = ("image/", "audio/", "video/")
_ALIASES = {
    "audio/wave": "audio/wav",
    "image/ms-bmp": "image/bmp",
    "image/jpg": "image/jpeg",
    "text/xml": "application/xml",
}
#: Bytes; a shorter signature is met by chance (two of 65,536 files each) and only confirms what a name says.
_BY_CHANCE = 3
_CONTROL = bytes(set(range(32)) - {7, 8, 9, 10, 12, 13, 27})


def is_textual(media_type: str) -> bool:
    """Whether content of this type is text."""
    return media_type.startswith("text/") or media_type in _TEXTUAL or media_type.endswith(("+json", "+xml"))


def looks_like_text(head: bytes) -> bool:
    """Whether bytes are UTF-8 without control characters; the last character may be cut."""
    if head.translate(None, _CONTROL) != head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and len(head) - error.start < 4
    return True


def media_type(head: bytes, name: str, declared: str | None) -> str:
    """Return the type of a file by its first bytes, its name, and what it is said to be.

    Args:
        head: the first bytes, some kilobytes.
        name: the file's name.
        declared: the type the sender gave; None or `application/octet-stream`: unknown.

    Raises:
        TypeMismatch: it can't be what it is said to be.
    """
    said = _plain(declared)
    signs = _signs(head)
    if said is None:
        return _guessed(head, name, signs)
    if _contradicts(head, said, signs):
        found = next(iter(signs), TEXT if looks_like_text(head) else "something else")
        raise TypeMismatch(f"{name[:100]!r} is said to be {said}, but is {found}. Send its true type, or none.")
    return said


def _plain(declared: str | None) -> str | None:
    said = _canonical((declared or "").partition(";")[0].strip().lower())
    return None if said in ("", UNKNOWN) or not said.isascii() or "/" not in said else said[:100]


def _canonical(given: str) -> str:
    major, _, minor = given.partition("/")
    plain = f"{major}/{minor.removeprefix('x-')}" if minor else given
    return _ALIASES.get(plain, plain)


def _guessed(head: bytes, name: str, signs: dict[str, int]) -> str:
    by_name = _canonical(mimetypes.guess_type(name)[0] or "")
    if by_name in signs:
        return by_name
    if firm := _firm(signs):
        return firm[0]
    if looks_like_text(head):
        return by_name if is_textual(by_name) else TEXT
    return by_name if by_name and not _contradicts(head, by_name, signs) else UNKNOWN


def _contradicts(head: bytes, said: str, signs: dict[str, int]) -> bool:
    if is_textual(said):
        return not looks_like_text(head)
    if said in _FIXED:
        return said not in signs
    if said.startswith(_MEDIA):
        major = said.partition("/")[0]
        if any(each.partition("/")[0] == major for each in signs):
            return False
        return bool(_firm(signs)) or looks_like_text(head)
    return False


def _firm(signs: dict[str, int]) -> list[str]:
    """Return the types whose signature is too long to be met by chance."""
    return [each for each, length in signs.items() if length >= _BY_CHANCE]


def _signs(head: bytes) -> dict[str, int]:
    """Return the types whose signature the bytes have, the likeliest first, with its bytes.

    Text has none, but for what begins with letters by design.
    """
    if not head or (looks_like_text(head) and not head.startswith(b"%PDF-")):
        return {}
    return _signatures(head[:4096])


def _signatures(head: bytes) -> dict[str, int]:
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return {}
    # Every document that is an archive begins as one does; which it is, only its name or its sender can say.
    signs = {"application/zip": 4} if head.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08")) else {}
    for each in found:
        media_type = _canonical(each.mime_type)
        # What is not text is no textual type, though it begins with a brace.
        if media_type and not is_textual(media_type):
            signs[media_type] = max(signs.get(media_type, 0), len(each.byte_match))
    return signs
