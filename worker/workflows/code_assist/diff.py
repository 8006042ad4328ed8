"""Unified diffs that `git apply` and GNU `patch` accept byte for byte.

Lines end at LF only: form feeds, lone CRs and Unicode separators stay inside their line, as git sees it.
"""

from difflib import SequenceMatcher

CONTEXT = 3
NO_NEWLINE = "\\ No newline at end of file\n"
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def unified_diff(path: str, before: str, after: str) -> str:
    """Return the diff that turns `before` into `after`, or an empty string if they are equal.

    Args:
        path: relative path with forward slashes.
        before: old text.
        after: new text.
    """
    if before == after:
        return ""
    old, new = _lines(before), _lines(after)
    hunks = SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT)
    parts = [_header(path)]
    parts.extend(_hunk(group, old, new) for group in hunks)
    return "".join(parts)


def _lines(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _header(path: str) -> str:
    old, new = _quoted(f"a/{path}"), _quoted(f"b/{path}")
    # A name with a space ends at a tab, or patch would take what follows for a date.
    end = "\t\n" if " " in path else "\n"
    return f"diff --git {old} {new}\n--- {old}{end}+++ {new}{end}"


def _quoted(name: str) -> str:
    if not any(char in _ESCAPES or ord(char) < 32 or ord(char) == 127 for char in name):
        return name
    return '"' + "".join(_ESCAPES.get(char) or _octal(char) for char in name) + '"'


def _octal(char: str) -> str:
    if 32 <= ord(char) < 127:
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode())


def _hunk(group: list[tuple[str, int, int, int, int]], old: list[str], new: list[str]) -> str:
    first, last = group[0], group[-1]
    parts = [f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n"]
    for tag, i1, i2, j1, j2 in group:
        if tag == "equal":
            parts.extend(_marked(" ", old[i1:i2]))
        else:
            parts.extend(_marked("-", old[i1:i2]))
            parts.extend(_marked("+", new[j1:j2]))
    return "".join(parts)


def _marked(mark: str, lines: list[str]) -> list[str]:
    return [mark + line if line.endswith("\n") else f"{mark}{line}\n{NO_NEWLINE}" for line in lines]


def _range(start: int, stop: int) -> str:
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start if length == 0 else start + 1},{length}"
