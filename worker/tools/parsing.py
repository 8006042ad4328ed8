"""A program of its own: reads one file from its input and prints what it holds as JSON.

`worker.tools.read_file` starts it within limits of CPU time and memory. It imports nothing of Umbel, and is given
nothing but the file.

    in:  a line of JSON {"kind", "start", "limit", "first_page", "last_page", "header", "room"}, then the file's bytes
    out: {"value": …} or {"error": message}
"""

import csv
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

FIELD_MAX = 1_000_000
SNIFFED = 65_536
DELIMITERS = ",;\t|"


class Unreadable(Exception):
    """The file can't be read as asked; the message says why and what to do."""


def decode(raw: bytes) -> str:
    """Return the text of a file: Unicode by its mark or as UTF-8, else Windows-1252."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = raw.decode("utf-16", errors="replace")
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("cp1252", errors="replace")
    if "\0" in text:
        raise Unreadable("this is not a text file; read it as pdf if it is one")
    return text


def as_text(raw: bytes, asked: dict[str, Any]) -> dict[str, Any]:
    """Return a piece of the text: `text`, `characters` of all of it, and `next` if there is more."""
    text, start = decode(raw), asked["start"]
    piece = text[start : start + min(asked["limit"] or asked["room"], asked["room"])]
    found = {"text": piece, "characters": len(text)}
    return found | ({"next": start + len(piece)} if start + len(piece) < len(text) else {})


def as_json(raw: bytes, asked: dict[str, Any]) -> Any:
    """Return the file's JSON value."""
    try:
        value = json.loads(decode(raw))
    except ValueError as error:
        raise Unreadable(f"not valid JSON: {error}") from None
    if (size := len(json.dumps(value, ensure_ascii=False))) > asked["room"]:
        raise Unreadable(f"the JSON has {size} characters, more than fit; read it in parts with as=text")
    return value


def as_csv(raw: bytes, asked: dict[str, Any]) -> dict[str, Any]:
    """Return `columns`, `rows` as objects, `total_rows`, and `next` if there are more."""
    csv.field_size_limit(FIELD_MAX)
    text = decode(raw)
    lines = csv.reader(io.StringIO(text, newline=""), _dialect(text[:SNIFFED]))
    try:
        rows = [row for row in lines if row]
    except csv.Error as error:
        raise Unreadable(f"not a readable table (line {lines.line_num}): {error}; read it with as=text") from None
    columns = _columns(rows, header=asked["header"])
    rows = rows[1:] if asked["header"] else rows
    wanted = rows[asked["start"] : asked["start"] + (asked["limit"] or len(rows))]
    shown = list(_fitting((_row(columns, row) for row in wanted), asked["room"] - len(json.dumps(columns))))
    if wanted and not shown:
        raise Unreadable("a row is longer than fits; read it with as=text")
    end = asked["start"] + len(shown)
    return {"columns": columns, "rows": shown, "total_rows": len(rows)} | ({"next": end} if end < len(rows) else {})


def _dialect(sample: str) -> Any:
    try:
        return csv.Sniffer().sniff(sample, DELIMITERS)
    except csv.Error:  # such as a table of one column
        return csv.excel


def _columns(rows: list[list[str]], *, header: bool) -> list[str]:
    if not header:
        return [f"column_{number}" for number in range(1, max(map(len, rows), default=0) + 1)]
    columns: list[str] = []
    for number, name in enumerate(rows[0] if rows else [], 1):
        plain = name.strip() or f"column_{number}"
        columns.append(plain if plain not in columns else f"{plain}_{number}")
    return columns


def _row(columns: list[str], row: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = dict(zip(columns, row, strict=False))
    return found | ({"": row[len(columns) :]} if len(row) > len(columns) else {})


def _fitting(values: Iterator[Any], room: int) -> Iterator[Any]:
    for value in values:
        room -= len(json.dumps(value, ensure_ascii=False)) + 2
        if room < 0:
            return
        yield value


def as_pdf(raw: bytes, asked: dict[str, Any]) -> dict[str, Any]:
    """Return `total_pages`, `pages` as `{page, text}`, and `next_page` if there are more."""
    import pypdf

    logging.disable()
    try:
        reader = pypdf.PdfReader(io.BytesIO(raw))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("the PDF is encrypted; ask for one without a password")
        return _pages(reader, asked)
    except (pypdf.errors.PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError) as error:
        raise Unreadable(f"the PDF is broken: {str(error)[:200] or type(error).__name__}") from None


def _pages(reader: Any, asked: dict[str, Any]) -> dict[str, Any]:
    total, first = len(reader.pages), asked["first_page"]
    if first > total:
        raise Unreadable(f"the PDF has {total} pages; there is no page {first}")
    last, room = min(asked["last_page"] or total, total), asked["room"]
    pages: list[dict[str, Any]] = []
    for number in range(first, last + 1):
        text = reader.pages[number - 1].extract_text()
        room -= len(json.dumps(text, ensure_ascii=False)) + 30
        if room < 0 and pages:
            break
        if room < 0:  # one page is more than fits
            pages.append({"page": number, "text": text[: asked["room"] // 2], "cut": True})
            break
        pages.append({"page": number, "text": text})
    following = first + len(pages)
    return {"total_pages": total, "pages": pages} | ({"next_page": following} if following <= last else {})


KINDS: dict[str, Callable[[bytes, dict[str, Any]], Any]] = {
    "text": as_text,
    "json": as_json,
    "csv": as_csv,
    "pdf": as_pdf,
}


def main() -> None:
    """Answer one request on standard input."""
    asked = json.loads(sys.stdin.buffer.readline())
    try:
        answer = {"value": KINDS[asked["kind"]](sys.stdin.buffer.read(), asked)}
    except Unreadable as error:
        answer = {"error": str(error)}
    except (MemoryError, RecursionError) as error:
        answer = {"error": f"the file needs too much to be read ({type(error).__name__})"}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
