"""The `umbel` command, run as a program would be: into a pipe."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from umbel_client.cli import main, render, serving
from umbel_client.cli.live import Display
from umbel_client.cli.submitting import standard_input
from umbel_client.models import Frame

from tests.client.standin import QUESTION, StandIn, frame

Run = Callable[..., Result]
PATCH = "--- a/m.py\n+++ b/m.py\n@@ -1,2 +1 @@\n-import os\n x = 1\n"


def test_without_a_server_the_message_says_how_to_get_one() -> None:
    outcome = CliRunner().invoke(main, ["list"])
    assert outcome.exit_code == 1
    assert "make run" in outcome.stderr
    assert "Traceback" not in outcome.output


def test_submit_prints_only_the_id(run: Run, server: StandIn) -> None:
    outcome = run("submit", "probe", "--input", '{"steps": []}', "--meta", "a=b=c", "--tag", "x", "--key", "k1")
    assert outcome.output == "t1\n"
    _, _, headers, body = server.calls[-1]
    assert body == {"workflow": "probe", "input": {"steps": []}, "tags": ["x"], "metadata": {"a": "b=c"}}
    assert headers["Idempotency-Key"] == "k1"


def test_the_input_may_come_from_a_file_or_from_standard_input(run: Run, server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"a": 1}')
    assert run("submit", "probe", "--input", "@in.json").exit_code == 0
    assert server.calls[-1][3]["input"] == {"a": 1}
    assert run("submit", "probe", "--input", "-", input='{"b": 2}').exit_code == 0
    assert server.calls[-1][3]["input"] == {"b": 2}


def test_who_types_the_input_is_told_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = StringIO("{}")
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", typed)
    assert standard_input() == "{}"
    told = capsys.readouterr()
    assert "Ctrl-D" in told.err and not told.out


def test_an_input_that_is_no_json_object_is_a_usage_error(run: Run, server: StandIn) -> None:
    for wrong in ("{", "[1]", "@missing.json"):
        assert run("submit", "probe", "--input", wrong).exit_code == 2
    assert server.calls == []


def test_a_refused_submit_shows_the_servers_words(run: Run, server: StandIn) -> None:
    server.fail(422, "unknown_workflow")
    outcome = run("submit", "nonsense")
    assert outcome.exit_code == 1
    assert "It is unknown_workflow." in outcome.stderr


def test_watch_prints_one_line_per_event_and_no_terminal_codes(run: Run) -> None:
    outcome = run("watch", "t1")
    assert outcome.exit_code == 0
    assert "\x1b" not in outcome.output
    assert len(outcome.stdout.splitlines()) == 7
    assert "step.completed    s3 (3/6)" in outcome.stdout
    assert outcome.stdout.splitlines()[-1] == "Task t1 succeeded"


def test_watch_fails_with_the_task(run: Run, server: StandIn) -> None:
    server.task |= {"status": "failed", "error": {"code": "no_luck", "message": "It broke.", "retryable": False}}
    outcome = run("watch", "t1")
    assert outcome.exit_code == 1
    assert outcome.stdout.splitlines()[-1] == "Task t1 failed: It broke. (no_luck)"


def test_list_is_tab_separated_in_a_pipe(run: Run, server: StandIn) -> None:
    server.tasks = [{"id": "t9", "workflow": "probe", "status": "dead", "tags": ["a", "b"]}]
    assert run("list").stdout == "t9\tprobe\tdead\t-\ta,b\n"
    assert json.loads(run("list", "--json").stdout) == server.tasks


def test_show_why_events_and_workflows_are_readable(run: Run) -> None:
    assert run("show", "t1").stdout.startswith("Task t1 succeeded\n")
    why = run("why", "t1").stdout
    assert "waiting: It waits for a timer." in why
    assert "held by timer: until noon" in why
    assert len(run("events", "t1", "--after", "4").stdout.splitlines()) == 2
    assert [json.loads(row)["seq"] for row in run("events", "t1", "--json").stdout.splitlines()] == [1, 2, 3, 4, 5, 6]
    assert run("workflows").stdout == "probe\tinteractive\tChecks.\n"


def test_each_request_reaches_its_path(run: Run, server: StandIn) -> None:
    actions = ["cancel", "pause", "resume", "retry", "accept", "reject"]
    for action in actions:
        assert run(action, "t1").exit_code == 0
    assert server.paths("POST") == [f"/v1/tasks/t1/{action}" for action in actions]
    assert run("resume", "t1", "--decision", "skip").exit_code == 0
    assert server.calls[-1][3] == {"decision": "skip"}
    assert run("reject", "t1", "--comment", "wrong").exit_code == 0
    assert server.calls[-1][3] == {"comment": "wrong"}
    assert run("accept", "t1", "--merge").exit_code == 0
    assert server.calls[-1][3] == {"merge": True}


def test_lint_fix_shows_the_diff_what_is_left_and_writes_nothing(run: Run, server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import os\nx = 1\n")
    left = [{"path": "m.py", "line": 3, "col": 1, "code": "E722", "message": "bare except"}]
    files = [{"path": "m.py", "patch": PATCH}]
    server.task["result"] = {"files_modified": files, "explanation": "Removed one import.", "diagnostics": left}
    outcome = run("lint-fix", "m.py")
    assert outcome.exit_code == 0
    assert PATCH in outcome.stdout
    assert "Removed one import." in outcome.stdout
    assert "  m.py:3:1 E722 bare except" in outcome.stdout
    assert "Task t1" in outcome.stderr
    assert (tmp_path / "m.py").read_text() == "import os\nx = 1\n"
    assert run("show", "t1", "--patch").stdout == PATCH


def test_lint_fix_with_apply_writes_and_then_accepts(run: Run, server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import os\nx = 1\n")
    server.task["result"] = {"files_modified": [{"path": "m.py", "patch": PATCH}]}
    outcome = run("lint-fix", "m.py", "--apply")
    assert outcome.exit_code == 0
    assert (tmp_path / "m.py").read_text() == "x = 1\n"
    sent = server.calls[0][3]
    assert sent["input"] == {"mode": "lint_fix", "files": [{"path": "m.py", "content": "import os\nx = 1\n"}]}
    assert server.paths("POST")[-1] == "/v1/tasks/t1/accept"


def test_lint_fix_exits_with_one_when_the_task_fails(run: Run, server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("x = 1\n")
    server.task["status"] = "dead"
    assert run("lint-fix", "m.py", "--apply").exit_code == 1
    assert server.paths("POST") == ["/v1/tasks"]


def test_generate_test_shows_the_tests_and_how_they_ended(run: Run, server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("x = 1\n")
    (tmp_path / "n.py").write_text("y = 2\n")
    cases = [{"name": "test_m.py::test_a", "outcome": "failed", "message": "no"}]
    files = [{"path": "test_m.py", "patch": PATCH}]
    server.task["result"] = {"files_modified": files, "explanation": "1 failed.", "tests": {"cases": cases}}
    outcome = run("generate-test", "m.py", "n.py", "--line", "1", "--model", "offline:demo")
    assert outcome.exit_code == 0
    assert PATCH in outcome.stdout
    assert "  failed   test_m.py::test_a" in outcome.stdout
    assert "umbel show t1 --patch | git apply" in outcome.stderr
    sent = server.calls[0][3]["input"]
    assert [each["path"] for each in sent.pop("files")] == ["m.py", "n.py"]
    assert sent == {"mode": "generate_test", "model": "offline:demo", "cursor": {"file": "m.py", "line": 1}}
    assert run("generate-test", "m.py", "--json").exit_code == 0
    assert "cursor" not in [call[3] for call in server.calls if call[3] and "input" in call[3]][-1]["input"]


def test_explain_shows_sections_with_their_lines(run: Run, server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("x = 1\ny = 2\n")
    sections = [{"start": 1, "end": 2, "title": "Two names", "text": "They are numbers."}]
    server.task["result"] = {"explained": {"summary": "Names.", "sections": sections}}
    outcome = run("explain", "m.py", "--lines", "1-2")
    assert outcome.stdout.endswith("Names.\n\n1-2: Two names\nThey are numbers.\n")
    assert server.calls[0][3]["input"]["selection"] == {"file": "m.py", "start": 1, "end": 2}
    assert run("explain", "m.py", "--lines", "a").exit_code == 2


def test_what_a_file_or_a_model_says_cannot_steer_the_terminal() -> None:
    console = Console(file=StringIO(), force_terminal=True, color_system=None, soft_wrap=True)
    render.diff(console, "+\x1b]0;owned\x07\n")
    with Display(console) as display:
        display.show(Frame.of(frame(1, "model.completed", step="a\x1b[2J", text="b\x1b[2Jc")))
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b]0" not in written
    assert "\x1b[2J" not in written
    assert "\\x1b]0;owned\\x07" in written


def test_approvals_are_listed_and_decided(run: Run, server: StandIn) -> None:
    server.approvals = [QUESTION]
    listed = run("approvals").stdout
    assert listed.startswith('r1.tool:1:deploy\tdeploy\t{"version": 7}\tapprove | edit | reject\t')
    assert run("decide", "r1.tool:1:deploy", "edit", "--args", '{"version": 8}').stdout.startswith(
        'edit: deploy {"version": 8}\n'
    )
    assert server.calls[-1][3] == {"verdict": "edit", "args_hash": "abc", "args": {"version": 8}}


def test_a_question_is_answered_with_a_comment_or_with_fields(run: Run, server: StandIn) -> None:
    server.approvals = [QUESTION | {"kind": "input", "allowed": ["answer", "reject"]}]
    assert run("decide", "r1.tool:1:deploy", "answer", "--comment", "the red one").exit_code == 0
    assert server.calls[-1][3] == {"verdict": "answer", "args_hash": "abc", "comment": "the red one"}
    assert run("decide", "r1.tool:1:deploy", "answer", "--args", '{"colour": "red"}').exit_code == 0
    assert server.calls[-1][3] == {"verdict": "answer", "args_hash": "abc", "args": {"colour": "red"}}


def test_deciding_what_is_not_asked_says_where_to_look(run: Run, server: StandIn) -> None:
    outcome = run("decide", "r1.other", "approve")
    assert outcome.exit_code == 1
    assert "umbel approvals" in outcome.stderr


def test_what_was_used_is_shown_by_workflow_and_in_all(run: Run, server: StandIn) -> None:
    lines = [line.split("\t") for line in run("usage").output.splitlines()]
    assert lines == [[name, "7", "7", "7", "7", "7", "1.25", "7"] for name in ("agent", "all")]
    assert json.loads(run("usage", "--since", "2026-11-01T00:00:00Z", "--json").output)["total"]["tasks"] == 0


def test_an_agent_is_steered_and_sessions_are_shown(run: Run, server: StandIn) -> None:
    assert "Message 1 " in run("steer", "t1", "Leave the tests alone.").output
    assert server.calls[-1][3] == {"text": "Leave the tests alone."}
    assert run("sessions", "--new", "Trip", "--agent", "clerk").output == "s0\n"
    assert run("sessions").output.startswith("s0\tTrip\tclerk\t0")
    assert run("sessions", "s0").output == "1\tuser\tWhere to?\n2\tassistant\t[map]\n"
    assert run("sessions", "s0", "--delete").exit_code == 0 and server.sessions == []
    assert run("sessions", "--delete").exit_code == 2


def test_serving_mcp_without_its_packages_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    outcome = run("mcp", "--stdio")
    assert outcome.exit_code == 1
    assert "pip install 'umbel-client[mcp]'" in outcome.stderr


def test_an_empty_list_says_so_to_a_person_and_nothing_to_a_program(run: Run, server: StandIn) -> None:
    server.tasks = []
    assert run("list").stdout == ""
    console = Console(file=StringIO(), force_terminal=True, color_system=None)
    render.table(console, ("id", "workflow"), [])
    assert console.file.getvalue() == "none\n"  # type: ignore[attr-defined]
