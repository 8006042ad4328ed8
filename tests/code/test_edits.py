"""Edits are made to the letter, or refused with the reason."""

import pytest

from worker.code import EditError, EditMalformed, EditPathRefused, EditRefused, apply, attempt, parse_diff, text_of
from worker.code.answers import parse_answer
from worker.code.applying import against
from worker.code.edits import Edit, Kind, Whole
from worker.code.errors import Reason
from worker.code.unified import RECOUNTED

TEXT = "import os\n\n\ndef f():\n    return 1\n\n\ndef g():\n    return 1\n"
FILES = {"a.py": TEXT, "d/b.py": "x\r\ny\r\n", "c.txt": "\ufeffone\ntwo", "empty.py": ""}


def diff(hunk: str, path: str = "a.py") -> Edit:
    (edit,) = parse_diff(f"--- a/{path}\n+++ b/{path}\n{hunk}")
    return edit


def block(search: str, replace: str, path: str = "a.py") -> Edit:
    (edit,) = parse_answer(f"{path}\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n").edits
    return edit


def refusal(edit: Edit, files: dict[str, str] = FILES) -> EditRefused:
    with pytest.raises(EditRefused) as caught:
        apply(edit, files)
    return caught.value


def test_a_hunk_whose_line_numbers_are_wrong_is_made_where_its_lines_stand_once() -> None:
    change = apply(diff("@@ -90,3 +90,3 @@\n def f():\n-    return 1\n+    return 2\n \n"), FILES)
    assert change.after == TEXT.replace("return 1", "return 2", 1)
    assert change.notes == ()


def test_a_hunk_that_is_not_there_says_which_line_was_expected_where_and_what_is_there() -> None:
    error = refusal(diff("@@ -4,2 +4,2 @@\n def f():\n-    return 3\n+    return 2\n"))
    assert (error.reason, error.detail["line"]) == (Reason.NOT_FOUND, 5)
    assert (
        str(error)
        == "a.py: hunk 1 is not found: at line 5, '    return 3\\n' was expected and '    return 1\\n' is there"
    )
    assert error.detail["expected"] == "    return 3\n"


def test_a_hunk_that_fits_twice_is_refused_even_at_the_line_it_names() -> None:
    error = refusal(diff("@@ -5,1 +5,1 @@\n-    return 1\n+    return 2\n"))
    assert (error.reason, error.detail["times"]) == (Reason.AMBIGUOUS, 2)
    assert "at lines 5, 9" in str(error)


def test_a_hunk_that_fits_twice_is_made_where_it_says_in_the_very_file_it_was_made_from() -> None:
    edit = against(diff("@@ -9,1 +9,1 @@\n-    return 1\n+    return 2\n"), FILES)
    after = apply(edit, FILES).after
    assert after == TEXT[: TEXT.rindex("1")] + "2\n"
    assert refusal(edit, {"a.py": TEXT + "\n"}).reason is Reason.AMBIGUOUS


@pytest.mark.parametrize(
    ("hunk", "reason"),
    [
        ("@@ -3,0 +4,1 @@\n+x\n", Reason.UNANCHORED),
        ("@@ -4,1 +4,2 @@\n def f():\n+x\n", Reason.UNANCHORED),
        ("@@ -4,1 +4,2 @@\n+x\n def f():\n", Reason.UNANCHORED),
        ("@@ -9,2 +9,1 @@\n     return 1\n-    more\n", Reason.NOT_FOUND),
        ("@@ -8,1 +8,1 @@\n-def g():\n+def h():\n@@ -4,1 +4,1 @@\n-def f():\n+def e():\n", Reason.OVERLAPS),
        ("@@ -4,1 +4,1 @@\n-def f():\n+def e():\n@@ -4,1 +4,1 @@\n-def f():\n+def d():\n", Reason.OVERLAPS),
        ("@@ -4,1 +4,1 @@\n def f():\n", Reason.UNCHANGED),
    ],
)
def test_hunks_that_do_not_fit_are_refused_with_the_reason(hunk: str, reason: Reason) -> None:
    assert refusal(diff(hunk)).reason is reason


def test_lines_are_added_at_both_ends_of_a_file_without_context_on_that_side() -> None:
    ends = "@@ -1,1 +1,2 @@\n+# top\n import os\n@@ -8,2 +9,3 @@\n def g():\n     return 1\n+# end\n"
    assert apply(diff(ends), FILES).after == f"# top\n{TEXT}# end\n"
    grown = {"a.py": TEXT + "more\n"}
    assert refusal(diff("@@ -8,2 +8,3 @@\n def g():\n     return 1\n+# end\n"), grown).reason is Reason.UNANCHORED


def test_a_newline_that_is_missing_counts() -> None:
    hunk = "@@ -2,1 +2,1 @@\n-two{}\n+2\n"
    assert refusal(diff(hunk.format(""), "c.txt")).reason is Reason.NOT_FOUND
    exact = diff(hunk.format("\n\\ No newline at end of file"), "c.txt")
    assert apply(exact, FILES).after == "\ufeffone\n2\n"


@pytest.mark.parametrize(
    ("edit", "after", "note"),
    [
        (block("x\n", "z\n", "d/b.py"), "z\r\ny\r\n", "line endings"),
        (diff("@@ -1,2 +1,2 @@\n-x\n+z\n y\n", "d/b.py"), "z\r\ny\r\n", "line endings"),
        (diff("@@ -5,1 +5,1 @@\r\n-import os\r\n+import re\r\n"), TEXT.replace("os", "re"), "line endings"),
        (block("one\n", "1\n", "c.txt"), "\ufeff1\ntwo", "byte order mark"),
        (block("two\n", "2\n", "c.txt"), "\ufeffone\n2", "without a newline"),
        (Edit("d/b.py", Kind.WRITE, Whole("z\n")), "z\r\n", "line endings"),
        (Edit("c.txt", Kind.WRITE, Whole("z")), "\ufeffz", "byte order mark"),
    ],
)
def test_an_edit_is_adapted_to_the_form_of_its_file_only_where_asked_and_says_so(
    edit: Edit, after: str, note: str
) -> None:
    change = apply(edit, FILES, adapt=True)
    assert change.after == after
    assert any(note in each for each in change.notes)
    if not isinstance(edit.body, Whole):
        assert refusal(edit).reason is Reason.NOT_FOUND


def test_an_edit_that_fits_to_the_letter_is_not_adapted() -> None:
    assert apply(block("x\r\n", "z\n", "d/b.py"), FILES, adapt=True).after == "z\ny\r\n"
    mixed = {"a.py": "x\r\ny\n"}
    with pytest.raises(EditRefused):
        apply(block("x\n", "z\n"), mixed, adapt=True)


def test_blocks_are_found_in_the_given_text_once_and_do_not_overlap() -> None:
    assert refusal(block("    return 1\n", "x\n")).reason is Reason.AMBIGUOUS
    assert refusal(block("def f(:\n", "x\n")).reason is Reason.NOT_FOUND
    assert refusal(block("", "x\n")).reason is Reason.UNANCHORED
    first = "<<<<<<< SEARCH\ndef g():\n=======\ndef h():\n>>>>>>> REPLACE\n"
    both = f"a.py\n{first}<<<<<<< SEARCH\ndef f():\n{{}}=======\n>>>>>>> REPLACE\n"
    (edit,) = parse_answer(both.format("")).edits
    assert apply(edit, FILES).after == TEXT.replace("def g", "def h").replace("def f():\n", "")
    (edit,) = parse_answer(both.format("    return 1\n\n\ndef g():\n")).edits
    assert refusal(edit).reason is Reason.OVERLAPS


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (Edit("no.py", Kind.CHANGE, ()), Reason.MISSING),
        (Edit("no.py", Kind.DELETE, ()), Reason.MISSING),
        (Edit("a.py", Kind.CREATE, ()), Reason.EXISTS),
        (Edit("a.py", Kind.CHANGE, (), to="empty.py"), Reason.EXISTS),
        (Edit("a.py", Kind.CHANGE, (), to="c.txt/a.py"), Reason.EXISTS),
        (Edit("d", Kind.WRITE, Whole("x")), Reason.EXISTS),
        (Edit("a.py", Kind.DELETE, ()), Reason.NOT_EMPTY),
        (Edit("a.py", Kind.WRITE, Whole("x"), base="0" * 40), Reason.DRIFTED),
    ],
)
def test_files_that_are_there_or_are_not_stand_in_the_way(edit: Edit, reason: Reason) -> None:
    assert refusal(edit).reason is reason


def test_what_fits_is_made_though_others_are_refused_and_no_file_is_touched_twice() -> None:
    edits = [
        block("def f():\n", "def e():\n"),
        block("nothing\n", "x\n", "empty.py"),
        diff("@@ -1 +1 @@\n-import os\n+\n"),
    ]
    changes, refused = attempt(edits, FILES)
    assert [change.path for change in changes] == ["a.py"]
    assert [error.detail["reason"] for error in refused] == ["not_found", "twice"]


HEAD = "--- a/a.py\n+++ b/a.py\n"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("@@ -1 +1 @@\n-x\n+y\n", 1, "without the `--- old`"),
        (f"{HEAD}@@ 1 @@\n-x\n", 3, "no header of a hunk"),
        (f"{HEAD}@@ -1,2 +1,1 @@\n-x\n", 5, "1 old and 1 new lines are missing"),
        (f"{HEAD}@@ -1,1 +1,1 @@\n-x\n+y\n+z\n", 6, "hunk 1 has more lines"),
        (HEAD, 1, "there is no hunk in it"),
        ("--- a/a.py\n+++ b/b.py\n@@ -1 +1 @@\n-x\n+y\n", 1, "names two files"),
        ("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-x\n+y\n", 1, "names no file"),
        ("diff --git a/a.py b/a.py\n--- a/a.py\n", 2, "without a line `... new`"),
    ],
)
def test_diffs_that_are_not_whole_are_refused_with_the_line(text: str, line: int, why: str) -> None:
    with pytest.raises(EditMalformed, match=why) as caught:
        parse_diff(text)
    assert caught.value.detail["line"] == line


def test_wrong_counts_are_taken_as_they_stand_only_where_asked_and_noted() -> None:
    text = f"{HEAD}@@ -1,9 +1,9 @@\n-import os\n+import re\n\n@@ -4 +4,7 @@\n-def f():\n+def e():\n\nThat is all.\n"
    (edit,) = parse_diff(text, recount=True)
    assert edit.notes == (RECOUNTED,)
    change = apply(edit, FILES)
    assert change.after == TEXT.replace("os", "re").replace("def f", "def e")
    assert change.notes == (RECOUNTED,)


@pytest.mark.parametrize(
    "path",
    ["../x.py", "/etc/passwd", "a/../../x", ".git/config", "a\\b.py", "C:/x", "./a.py", "a//b", '"a\\tb"', '"\\377"'],
)
def test_paths_that_leave_the_project_are_refused(path: str) -> None:
    quoted = path.startswith('"')
    name = f'"a/{path[1:]}' if quoted else f"a/{path}"
    new = f'"b/{path[1:]}' if quoted else f"b/{path}"
    with pytest.raises(EditPathRefused):
        parse_diff(f"--- {name}\n+++ {new}\n@@ -1 +1 @@\n-x\n+y\n")
    if not quoted:
        with pytest.raises(EditPathRefused):
            parse_answer(f"`{path}`\n```\nx\n```\n")


@pytest.mark.parametrize(
    "said",
    [
        "Binary files a/a.png and b/a.png differ",
        "GIT binary patch",
        "new file mode 120000",
        "new file mode 160000",
        "copy from b.png",
    ],
)
def test_what_is_more_than_text_is_refused(said: str) -> None:
    with pytest.raises(EditRefused):
        parse_diff(f"diff --git a/a.png b/a.png\n{said}\n@@ -0,0 +1 @@\n+x\n")


def test_bytes_that_are_no_text_are_refused() -> None:
    assert text_of("a.py", "é\r\n".encode()) == "é\r\n"
    for content in (b"\xff", b"a\0b"):
        with pytest.raises(EditRefused) as caught:
            text_of("a.png", content)
        assert caught.value.reason is Reason.BINARY


ANSWER = """I change three files.

src/a.py
<<<<<<< SEARCH
x
=======
y
>>>>>>> REPLACE

### `new dir/b.md`
````markdown
```python
1
```
````

```diff
--- a/c.py
+++ b/c.py
@@ -1 +1 @@
-x
+y
```

For example:
```python
f()
```
**d.py**
```python
<<<<<<<< SEARCH
=======
========
-------
>>>>>>>> REPLACE
```
File: e.txt
~~~
end
\\ No newline at end of file
~~~
"""


def test_an_answer_s_edits_are_read_in_all_forms_and_the_rest_is_prose() -> None:
    answer = parse_answer(ANSWER)
    made = {edit.path: edit for edit in answer.edits}
    files = {"src/a.py": "x\n", "c.py": "x\n", "d.py": "=======\n"}
    changes, refused = attempt(answer.edits, files)
    assert refused == []
    assert {change.path: change.after for change in changes} == {
        "src/a.py": "y\n", "new dir/b.md": "```python\n1\n```\n", "c.py": "y\n", "d.py": "-------\n", "e.txt": "end",
    }  # fmt: skip
    assert made["e.txt"].kind is Kind.WRITE
    assert answer.prose.startswith("I change three files.")
    assert "f()" in answer.prose
    assert "SEARCH" not in answer.prose


def test_a_fence_below_a_block_is_no_file() -> None:
    text = "a.py\n<<<<<<< SEARCH\nimport os\n=======\nimport re\n>>>>>>> REPLACE\n\n```bash\npytest\n```\n"
    (edit,) = parse_answer(text, FILES).edits
    assert apply(edit, FILES).after == TEXT.replace("os", "re")


def test_a_diff_without_a_fence_is_read_as_well() -> None:
    answer = parse_answer(f"So:\n\n{HEAD}@@ -1 +1 @@\n-import os\n+import re\n")
    assert answer.prose == "So:"
    assert apply(answer.edits[0], FILES).after == TEXT.replace("os", "re")


def test_a_search_for_nothing_makes_a_file_or_fills_an_empty_one() -> None:
    assert apply(block("", "x\n", "new.py"), FILES).after == "x\n"
    assert apply(block("", "x\n", "empty.py"), FILES).after == "x\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a.py\n```python\nx\n", "cut off"),
        ("a.py\n<<<<<<< SEARCH\nx\n=======\n", "cut off"),
        ("a.py\n```\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n", "cut off"),
        ("a.py\n<<<<<<< SEARCH\nx\n>>>>>>> REPLACE\n", "0 lines ======="),
        ("a.py\n<<<<<<< SEARCH\nx\n=======\n=======\n>>>>>>> REPLACE\n", "2 lines ======="),
        ("a.py\n<<<<<<< SEARCH\nx\n<<<<<<< SEARCH\n", "another block begins"),
        ("<<<<<<< SEARCH\nx\n=======\n>>>>>>> REPLACE\n", "without the path"),
        ("Look here:\n<<<<<<< SEARCH\nx\n=======\n>>>>>>> REPLACE\n", "without the path"),
        ("a.md\n```\n# A\n```\ncode\n```\n```\n", "not certain where a.md ends"),
        ("a.md\n```\n# A\n```python\ncode\n```\n\n```\n", "not certain where a.md ends"),
    ],
)
def test_answers_that_can_be_read_in_two_ways_or_not_at_all_are_refused(text: str, why: str) -> None:
    with pytest.raises(EditMalformed, match=why):
        parse_answer(text)


def test_every_refusal_can_be_recorded_and_shown() -> None:
    for error in (refusal(block("x\n", "y\n")), EditMalformed("why", 3), EditPathRefused("../x", "leaves")):
        assert isinstance(error, EditError)
        told = error.as_json()
        assert (told["code"], told["retryable"]) == (error.code, False)
        assert told["message"]
