"""read_file: tables, JSON, text and PDF from a task's files, in a process of its own and in bounded pieces."""

import io
import json
from collections.abc import Callable
from typing import Any

import pypdf
import pytest
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from worker.tools import read_file as module
from worker.tools.base import Refused, ToolCall
from worker.tools.chain import RESULT_MAX, carry_out
from worker.tools.read_file import Sources, read_file


async def read(name: str, raw: bytes | str, **args: Any) -> Any:
    tool = read_file(Sources({name: raw.encode() if isinstance(raw, str) else raw}))
    given = tool.validate({"name": name, **args})
    call = ToolCall(tool, given, tool.effect_of(given), "key", allowed=frozenset({"read_file"}))
    result = await carry_out(call)
    assert not result.truncated, "a piece was cut in its middle"
    return result.data


def pdf(*pages: str, encrypt: str | None = None) -> bytes:
    """A PDF with a line of text on each page."""
    writer = pypdf.PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for words in pages:
        page = writer.add_blank_page(600, 800)
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 10 700 Td ({words}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
    if encrypt is not None:
        writer.encrypt(encrypt, algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("name,price\na,1\nb,2\n", [{"name": "a", "price": "1"}, {"name": "b", "price": "2"}]),
        ("name;price\nä;1,5\nb;2,5\n".encode("cp1252"), [{"name": "ä", "price": "1,5"}, {"name": "b", "price": "2,5"}]),
        ('a\tb\r\n"x\ny"\t2\r\n', [{"a": "x\ny", "b": "2"}]),
        ("a,a,\n1,2,3,4\n", [{"a": "1", "a_2": "2", "column_3": "3", "": ["4"]}]),
        ("one\n1\n", [{"one": "1"}]),
        ("\ufeffa|b\n1|2\n", [{"a": "1", "b": "2"}]),
        ("", []),
    ],
)
async def test_a_table_becomes_rows_whatever_its_dialect(raw: Any, wanted: Any) -> None:
    assert (await read("t.csv", raw))["rows"] == wanted


async def test_a_long_table_is_read_in_pieces_that_join() -> None:
    chunk = 5000
    raw = "n,text\n" + "".join(f"{n},{'x' * 20}\n" for n in range(chunk))
    seen: list[str] = []
    start: int | None = 0
    while start is not None:
        piece = await read("t.csv", raw, start=start)
        assert piece["total_rows"] == chunk
        seen += [row["n"] for row in piece["rows"]]
        start = piece.get("next")
    assert seen == [str(n) for n in range(chunk)]
    assert [row["n"] for row in (await read("t.csv", raw, start=10, limit=2))["rows"]] == ["10", "11"]
    assert (await read("t.csv", "1,2\n", header=False))["rows"] == [{"column_1": "1", "column_2": "2"}]


async def test_text_is_read_in_pieces_that_join() -> None:
    raw = "zeile ü\n" * 10_000
    first = await read("a.txt", raw)
    second = await read("a.txt", raw, start=first["next"], limit=10)
    assert first["text"] + second["text"] == raw[: first["next"] + 10]
    assert len(json.dumps(first, ensure_ascii=False)) < RESULT_MAX
    assert (await read("b.md", "hé".encode("utf-16")))["text"] == "hé"


async def test_json_comes_back_as_it_is() -> None:
    assert await read("a.json", '{"a": [1, null, "ü"]}') == {"a": [1, None, "ü"]}
    with pytest.raises(Refused, match="not valid JSON"):
        await read("a.json", "{")
    with pytest.raises(Refused, match="as=text"):
        await read("a.json", json.dumps(["x" * 100] * 1000))
    with pytest.raises(Refused, match="needs too much"):
        await read("a.json", "[" * 200_000)


async def test_pages_of_a_pdf_are_read_by_number() -> None:
    document = pdf("first page", "second page", "third page")
    whole = await read("a.pdf", document)
    assert (whole["total_pages"], [page["text"] for page in whole["pages"]]) == (
        3,
        ["first page", "second page", "third page"],
    )
    assert (await read("named-otherwise", document, first_page=2, last_page=2))["pages"] == [
        {"page": 2, "text": "second page"}
    ]
    with pytest.raises(Refused, match="has 3 pages"):
        await read("a.pdf", document, first_page=4)


async def test_pages_that_do_not_fit_are_named() -> None:
    words = "word " * 2000
    document = pdf(*[words] * 5)
    first = await read("a.pdf", document)
    assert [page["page"] for page in first["pages"]] == list(range(1, first["next_page"]))
    assert (await read("a.pdf", document, first_page=first["next_page"]))["pages"][0]["page"] == first["next_page"]


async def test_an_encrypted_pdf_says_so_and_one_without_a_password_is_read() -> None:
    with pytest.raises(Refused, match="encrypted"):
        await read("a.pdf", pdf("secret", encrypt="password"))
    assert (await read("a.pdf", pdf("open", encrypt="")))["pages"][0]["text"] == "open"


@pytest.mark.parametrize(
    "break_it",
    [lambda raw: raw[: len(raw) // 2], lambda _: b"%PDF-1.7\n%%EOF", lambda raw: raw.replace(b"/Page", b"/Pxge")],
)
async def test_a_broken_pdf_is_refused_with_the_reason(break_it: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Refused, match=r"a\.pdf: the PDF"):
        await read("a.pdf", break_it(pdf("text")))


async def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(Refused, match="not a text file"):
        await read("a.bin", bytes(range(256)))


async def test_an_unknown_file_is_named_with_those_there_are() -> None:
    tool = read_file(Sources({"a.csv": b"1"}))
    assert "'a.csv' (1 bytes)" in tool.description
    with pytest.raises(Refused, match=r"no file 'b'; there are 'a\.csv'"):
        await tool.run(tool.validate({"name": "b"}), ToolCall(tool, None, tool.effect_of(None), "key"))


async def test_a_file_that_costs_too_much_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMITS", module.Limits(wall_s=20, cpu_s=5, memory=96 * 1024**2, file=0))
    with pytest.raises(Refused, match="needs"):
        await read("a.csv", "a,b\n" + "1,2\n" * 2_000_000)
