"""What bytes are is told by the bytes; what they are said to be must not contradict them."""

import gzip
import io
import zipfile

import pytest

from models.errors import TypeMismatch
from models.media import looks_like_text, media_type

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x08\x08\2\0\0\0"
GIF = b"GIF89a\x10\0\x08\0\x80\0\0"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1"
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"
WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0"
EXE = b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0"
NOISE = bytes(range(160, 256)) * 4


def archive() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        made.writestr("a.txt", "a")
    return held.getvalue()


DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    ("head", "name", "declared", "found"),
    [
        (PNG, "a.png", None, "image/png"),
        (PNG, "a", "application/octet-stream", "image/png"),
        (JPEG, "a.jpg", "image/jpg", "image/jpeg"),
        (MP4, "a.mp4", "video/mp4", "video/mp4"),
        (WAV, "a.wav", "audio/x-wav", "audio/wav"),
        (b"%PDF-1.7\n", "a.pdf", None, "application/pdf"),
        (archive(), "a.zip", None, "application/zip"),
        (archive(), "a.docx", None, DOCX),
        (archive(), "a", None, "application/zip"),
        (b"import os\n", "a.py", None, "text/python"),
        (b"BM is the name of a company", "a", None, "text/plain"),
        (b'{"a": 1}', "a.json", "application/json; charset=utf-8", "application/json"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "image/svg+xml", "image/svg+xml"),
        (b"text", "a.png", None, "text/plain"),
        (b"", "empty.txt", None, "text/plain"),
        (NOISE, "a", None, "application/octet-stream"),
        (NOISE, "a.png", None, "application/octet-stream"),
        (NOISE, "a", "application/x-own", "application/own"),
        (b"{" + NOISE, "a.bin", None, "application/octet-stream"),
        (b"BM" + NOISE, "a.bin", None, "application/octet-stream"),
        (b"BM" + NOISE, "a.bmp", None, "image/bmp"),
        (b"BM" + NOISE, "a.mp3", "audio/mpeg", "audio/mpeg"),
        (gzip.compress(b"a", mtime=0), "a", None, "application/gzip"),
    ],
)
def test_a_type_is_found_by_bytes_name_and_what_is_said(
    head: bytes, name: str, declared: str | None, found: str
) -> None:
    assert media_type(head, name, declared) == found


@pytest.mark.parametrize(
    ("head", "declared"),
    [
        (EXE, "image/png"),
        (b"<html><script>", "image/png"),
        (PNG, "image/gif"),
        (GIF, "text/plain"),
        (NOISE, "application/json"),
        (b"just text", "video/mp4"),
        (EXE, "application/pdf"),
        (b"", "image/jpeg"),
    ],
)
def test_what_is_not_what_it_is_said_to_be_is_refused(head: bytes, declared: str) -> None:
    with pytest.raises(TypeMismatch, match="is said to be"):
        media_type(head, "a", declared)


def test_text_cut_within_a_character_is_text() -> None:
    assert looks_like_text("añ€😀".encode()[:-1])
    assert not looks_like_text(b"\xff\xfe text")
    assert not looks_like_text(b"a\0b")
