"""Unified diffs that `git apply` and GNU `patch` accept byte for byte.

Each hunk has as much context as makes its place the only one in the file, so that it fits nowhere else once the file
has drifted: at least 3 lines and, where a file repeats itself for long, at most 48. `index` has git's names of both
contents.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import accumulate

from worker.code.lines import NO_NEWLINE, blob_id, is_unique, split

CONTEXT = 3
CONTEXT_MAX = 48
NOTHING = "0" * 40
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}

#: A stretch that differs: from, to in the old lines; from, to in the new ones.
_Span = tuple[int, int, int, int]


def unified_diff(path: str, before: str | None, after: str | None, *, renamed_from: str | None = None) -> str:
    """Return the diff that turns `before` into `after`, or an empty string if nothing changes.

    Args:
        path: relative path with forward slashes.
        before: old text; None if the file is new.
        after: new text; None if the file goes.
        renamed_from: its former path, if that was another.
    """
    if before == after and renamed_from is None:
        return ""
    old, new = split(before or ""), split(after or "")
    head = _header(renamed_from or path, path, before, after)
    return head + "".join(_hunks(before or "", old, new))


def _header(old_path: str, path: str, before: str | None, after: str | None) -> str:
    old, new = _quoted(f"a/{old_path}"), _quoted(f"b/{path}")
    sided = (before or "") != (after or "")
    # Where no sides follow, patch takes the names from here, and reads only quoted ones to their end.
    parts = [f"diff --git {old} {new}\n" if sided else f"diff --git {_closed(old)} {_closed(new)}\n"]
    if before is None or after is None:
        parts.append(f"{'new' if before is None else 'deleted'} file mode 100644\n")
    if old_path != path:
        parts.append(f"rename from {_quoted(old_path)}\nrename to {_quoted(path)}\n")
    if before != after:
        parts.append(f"index {_named(before)}..{_named(after)}\n")
    if sided:
        parts.append(f"--- {_side(old, old_path, before)}\n+++ {_side(new, path, after)}\n")
    return "".join(parts)


def _side(name: str, path: str, text: str | None) -> str:
    # A name with a space ends at a tab, or patch would take what follows for a date.
    return "/dev/null" if text is None else f"{name}\t" if " " in path else name


def _named(text: str | None) -> str:
    return NOTHING if text is None else blob_id(text)


def _quoted(name: str) -> str:
    if not any(char in _ESCAPES or ord(char) < 32 or ord(char) == 127 for char in name):
        return name
    return '"' + "".join(_ESCAPES.get(char) or _octal(char) for char in name) + '"'


def _closed(name: str) -> str:
    return f'"{name}"' if " " in name and not name.startswith('"') else name


def _octal(char: str) -> str:
    if 32 <= ord(char) < 127:
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode())


def _hunks(before: str, old: list[str], new: list[str]) -> list[str]:
    return [_hunk(window, old, new) for window in _windows(before, old, _changes(old, new))]


def _changes(old: list[str], new: list[str]) -> list[_Span]:
    """Return the stretches that differ. Equal ends are left aside: comparing takes the product of what is left."""
    most = min(len(old), len(new))
    head = next((n for n in range(most) if old[n] != new[n]), most)
    tail = next((n for n in range(most - head) if old[-1 - n] != new[-1 - n]), most - head)
    middle = old[head : len(old) - tail], new[head : len(new) - tail]
    codes = SequenceMatcher(None, *middle, autojunk=False).get_opcodes()
    return [(i1 + head, i2 + head, j1 + head, j2 + head) for tag, i1, i2, j1, j2 in codes if tag != "equal"]


def _windows(before: str, old: list[str], changes: list[_Span]) -> list[tuple[int, list[_Span], int]]:
    """Return for each hunk its first old line, the changes in it, and the line behind its last."""
    offsets = [0, *accumulate(map(len, old))]
    context = [CONTEXT] * len(changes)
    while True:
        windows = _grouped(changes, context, len(old))
        wanted = [_wanted(each, changes, context, before, offsets) for each in windows for _ in each]
        if wanted == context:
            return [_window(each, changes, context, len(old)) for each in windows]
        context = wanted


def _grouped(changes: list[_Span], context: list[int], lines: int) -> list[range]:
    """Return the changes' numbers, those together whose contexts meet."""
    groups: list[range] = []
    end = -1
    for n, (start, stop, *_) in enumerate(changes):
        if groups and start - context[n] <= end:
            groups[-1] = range(groups[-1].start, n + 1)
        else:
            groups.append(range(n, n + 1))
        end = min(max(end, stop + context[n]), lines)
    return groups


def _reach(group: range, changes: list[_Span], context: list[int], lines: int) -> tuple[int, int]:
    start = min(changes[n][0] - context[n] for n in group)
    return max(start, 0), min(max(changes[n][1] + context[n] for n in group), lines)


def _wanted(group: range, changes: list[_Span], context: list[int], before: str, offsets: Sequence[int]) -> int:
    """Return how many lines of context a hunk should have: as many before as behind, or patch ties it to an end."""
    widest = max(context[n] for n in group)
    if widest * 2 > CONTEXT_MAX or any(context[n] != widest for n in group):
        return widest
    start, stop = _reach(group, changes, context, len(offsets) - 1)
    return widest if start == stop or is_unique(start, stop, before, offsets) else widest * 2


def _window(group: range, changes: list[_Span], context: list[int], lines: int) -> tuple[int, list[_Span], int]:
    start, stop = _reach(group, changes, context, lines)
    return start, [changes[n] for n in group], stop


def _hunk(window: tuple[int, list[_Span], int], old: list[str], new: list[str]) -> str:
    start, changes, stop = window
    parts, at = [], start
    for i1, i2, j1, j2 in changes:
        parts += _marked(" ", old[at:i1]) + _marked("-", old[i1:i2]) + _marked("+", new[j1:j2])
        at = i2
    parts += _marked(" ", old[at:stop])
    begin = changes[0][2] - (changes[0][0] - start)
    end = changes[-1][3] + (stop - changes[-1][1])
    return "".join([f"@@ -{_range(start, stop)} +{_range(begin, end)} @@\n", *parts])


def _marked(mark: str, lines: list[str]) -> list[str]:
    return [mark + line if line.endswith("\n") else f"{mark}{line}\n{NO_NEWLINE}" for line in lines]


def _range(start: int, stop: int) -> str:
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start if length == 0 else start + 1},{length}"
