"""Two changes of a text become one, or a conflict; `git merge-file` is the peer."""

import random
import subprocess
from pathlib import Path

import pytest

from web.merging import Effort, merge

BASE = "".join(f"line {n}\n" for n in range(1, 10))


def changed(*changes: tuple[str, str]) -> str:
    text = BASE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def test_changes_in_different_places_are_both_taken() -> None:
    ours, theirs = changed(("line 2\n", "second\n")), changed(("line 8\n", ""), ("line 9\n", "line 9\nend"))
    merged = merge(BASE, ours, theirs)
    assert merged is not None
    assert merged.conflicts == 0
    assert merged.text == changed(("line 2\n", "second\n"), ("line 8\n", ""), ("line 9\n", "line 9\nend"))


def test_the_same_change_on_both_sides_is_taken_once() -> None:
    same = changed(("line 5\n", "five\n"))
    merged = merge(BASE, same, same)
    assert merged is not None and (merged.text, merged.conflicts) == (same, 0)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("line 5\n", "ours\n"), ("line 5\n", "theirs\n")),
        (("line 5\n", "ours\n"), ("line 6\n", "theirs\n")),
        (("line 5\n", "line 5\nours\n"), ("line 5\n", "line 5\ntheirs\n")),
        (("line 5\n", ""), ("line 5\n", "theirs\n")),
        (("line 9\n", "line 9"), ("line 9\n", "line 9\nmore\n")),
    ],
    ids=["same line", "next line", "insertions", "deletion", "last line"],
)
def test_changes_that_touch_are_a_conflict_between_markers(ours: tuple[str, str], theirs: tuple[str, str]) -> None:
    merged = merge(BASE, changed(ours), changed(theirs), ("project", "task"))
    assert merged is not None and merged.conflicts == 1
    assert merged.text.count("<<<<<<< project\n") == merged.text.count("\n>>>>>>> task\n") == 1


@pytest.mark.parametrize(
    "texts", [("", "", ""), ("", "a", ""), ("a", "", "a"), ("a\n", "a", "a\n"), ("", "a\n", "a\n")]
)
def test_one_sided_changes_of_tiny_texts_are_taken(texts: tuple[str, str, str]) -> None:
    base, ours, theirs = texts
    merged = merge(base, ours, theirs)
    assert merged is not None and (merged.text, merged.conflicts) == (ours if ours != base else theirs, 0)


def test_what_is_too_long_to_compare_is_not_merged() -> None:
    numbers = range(3000)
    left, right = ("".join(f"{side}{n}\n" for n in numbers) for side in "ab")
    assert merge(left, right, left) is None
    alike = "}\n" * 500
    assert merge(f"a\n{alike}b\n", f"c\n{alike}d\n", alike) is None, "nor what is alike all over"
    effort = Effort(pairs=100)
    assert merge("a\nb\n", "a\nc\n", "a\nb\n", effort=effort) is not None and effort.pairs < 100
    long = "".join(f"{n}\n" for n in range(50_000))
    assert merge(long, long + "end\n", "begin\n" + long) is not None, "equal ends cost nothing"


def edited(rng: random.Random, lines: list[str], mark: str) -> list[str]:
    result = list(lines)
    for number in range(rng.randint(1, 3)):
        at, gone = rng.randrange(len(result) + 1), rng.randint(0, 2)
        result[at : at + gone] = [f"{mark}{number}.{n}\n" for n in range(rng.randint(0 if gone else 1, 2))]
    return result


def test_it_merges_where_git_merges_and_gives_the_same_text(tmp_path: Path) -> None:
    rng, clean = random.Random(20261121), 0
    files = [tmp_path / name for name in ("ours", "base", "theirs")]
    for _ in range(50):
        lines = [f"{n}\n" for n in range(rng.randint(1, 24))]
        base, ours, theirs = ("".join(each) for each in (lines, edited(rng, lines, "o"), edited(rng, lines, "t")))
        for file, text in zip(files, (ours, base, theirs), strict=True):
            file.write_text(text)
        peer = subprocess.run(["git", "merge-file", "-p", "-q", *map(str, files)], capture_output=True, text=True)
        merged = merge(base, ours, theirs)
        assert merged is not None
        assert (merged.conflicts == 0) == (peer.returncode == 0), (base, ours, theirs)
        if merged.conflicts == 0:
            clean += 1
            assert merged.text == peer.stdout
    assert 5 < clean < 45, "both kinds were met"
