"""What a model is told of the files, how it is to write edits, and what became of those it wrote."""

from collections.abc import Mapping, Sequence

from worker.code.lines import NO_NEWLINE, split
from worker.workflows.code_assist.context import Piece, Selected, select_context
from worker.workflows.code_assist.schemas import CodeAssistInput, Cursor, Refusal

#: The share of the model's window the files may take; the answer and what is asked again need the rest.
SHARE = 0.5
AGAIN_MAX = 20_000

INSTRUCTIONS = """You change the files of a project as you are asked to. Say in a few sentences what you change and \
why, then give the edits. Change nothing that the request does not call for.

Change a file with search/replace blocks. Above each stands the path of the file, alone on its line:

src/a.py
<<<<<<< SEARCH
the lines as they are, to the letter, with enough around them to stand at one place only
=======
the lines as they should be
>>>>>>> REPLACE

Several blocks of one file all search the file as you were shown it. If the lines have such markers themselves, write \
longer ones, all three of the same length.

Write a new file, or one that changes nearly throughout, in full: the path alone on its line, then a fenced block with \
everything in it, then an empty line. If the file has fences itself, use a longer fence. To delete or rename a file, \
give a unified diff with git's header.

The whole content of a block counts, blanks and empty lines too. Never leave anything out with an ellipsis."""


def chosen(given: CodeAssistInput, window: int) -> Selected:
    """Return what a model that reads so many tokens is shown of the files."""
    return select_context({each.path: each.content for each in given.files}, given.cursor, int(window * SHARE))


def question(given: CodeAssistInput, context: Selected) -> str:
    """Return the request with what is shown of the files it is about."""
    files = {each.path: each.content for each in given.files}
    parts = [_piece(each, files[each.path]) for each in context.pieces]
    if context.left_out:
        missing = ", ".join(f"{each.path} ({each.lines} lines)" for each in context.left_out)
        parts.append(f"Not shown, because there is no room: {missing}")
    if given.cursor is not None and given.cursor.file in files:
        parts.append(_place(given.cursor, files[given.cursor.file]))
    return "\n\n".join([*parts, f"The request: {given.prompt}"])


def _piece(piece: Piece, text: str) -> str:
    """Return a piece as it stands in its file, without numbers: what is searched for is copied from it."""
    lines = split(text)
    if piece.end - piece.start + 1 >= len(lines):
        return told(piece.path, text)
    part = "".join(lines[piece.start - 1 : piece.end])
    if len(part) > len(piece.text):  # a line that is too long even by itself, and was cut
        return piece.text
    return f"Lines {piece.start} to {piece.end} of {told(piece.path, part)}"


def _place(cursor: Cursor, text: str) -> str:
    lines = text.split("\n")
    line = lines[cursor.line - 1] if cursor.line <= len(lines) else ""
    return f"The cursor is in {cursor.file}, line {cursor.line}, column {cursor.col}: {line[:200]!r}"


def told(path: str, text: str) -> str:
    """Return a file as it is shown to a model, and as it may write one."""
    longest = max((len(line) - len(line.lstrip("`")) for line in text.split("\n")), default=0)
    fence = "`" * max(3, longest + 1)
    end = "" if not text or text.endswith("\n") else f"\n{NO_NEWLINE}"
    return f"{path}\n{fence}\n{text}{end}{fence}"


def again(refused: Sequence[Refusal], made: Sequence[str], files: Mapping[str, str]) -> str:
    """Return what the model is told of edits that could not be taken.

    Args:
        refused: what is wrong, and with which files.
        made: paths of what was taken.
        files: the project as it is with that.
    """
    parts = ["Not all of it could be taken:", *(f"- {each.message}" for each in refused)]
    if made:
        parts.append(f"Made already, and not to be sent again: {', '.join(made)}.")
    parts.append("Send edits for what is wrong, and only those, for the files as they are now.")
    room = AGAIN_MAX
    for path in dict.fromkeys(each.path for each in refused if each.path in files):
        room -= len(files[path])
        parts += [f"{told(path, files[path])}\n"] if room >= 0 else []
    return "\n".join(parts)
