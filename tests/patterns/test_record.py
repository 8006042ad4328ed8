"""The record of patterns: one lesson once, evidence added, history kept, walls between accounts."""

from collections.abc import Callable

import pytest

from models.base import new_id
from models.errors import Conflict, NotFound
from models.patterns import PatternKind, PatternState
from models.repositories import graph, pattern_changes, pattern_uses, patterns
from models.repositories.pattern_changes import Content
from models.scope import RECONCILER, AccountScope
from tests.patterns.conftest import Record, lesson, shown


def learned(record: Record, scope: AccountScope, *runs: patterns.Shown, **changed: object) -> patterns.PatternRow:
    for run in runs or (shown(),):
        done = record(patterns.learn, scope, lesson(**changed), run)
    return record(patterns.get, scope, done.id)


def test_the_same_lesson_again_is_evidence_for_the_pattern_that_is_there(record: Record, scope: AccountScope) -> None:
    first, second = shown(), shown("linter")
    pattern = learned(record, scope, first, second, second)
    assert [row.id for row in record(patterns.list_patterns, scope, None, 10)] == [pattern.id]
    evidence = record(patterns.evidence, scope, pattern.id, 10)
    assert [(row.run_id, row.verifier) for row in evidence] == [(second.run_id, "linter"), (first.run_id, "tests")]
    assert pattern.version == 1
    assert pattern.state == "active"
    assert pattern.steps == lesson().steps


def test_a_lesson_only_the_model_believes_in_stays_a_candidate_until_a_verifier_speaks(
    record: Record, scope: AccountScope
) -> None:
    assert learned(record, scope, shown(None), shown(None)).state == "candidate"
    assert learned(record, scope, shown("exit_code")).state == "active"
    assert learned(record, scope, shown(None)).state == "active"


def test_what_a_person_retired_stays_retired_whatever_runs_show(record: Record, scope: AccountScope) -> None:
    pattern = learned(record, scope)
    record(pattern_changes.move, scope, pattern.id, PatternState.RETIRED, "we no longer do this")
    again = learned(record, scope)
    assert (again.id, again.state, again.reason) == (pattern.id, "retired", "we no longer do this")
    with pytest.raises(Conflict, match="people only"):
        record(pattern_changes.move, scope, pattern.id, PatternState.ACTIVE)


def test_history_tells_who_changed_what_and_any_version_can_be_brought_back(
    record: Record, scope: AccountScope
) -> None:
    person = AccountScope(scope.account_id, new_id(), new_id())
    pattern = learned(record, scope)
    words = Content("Search twice", pattern.situation, pattern.steps[:1])
    assert record(pattern_changes.edit, person, pattern.id, words, 1).version == 2
    with pytest.raises(Conflict, match="version 2, not 1"):
        record(pattern_changes.edit, person, pattern.id, words, 1)
    assert record(pattern_changes.pin, person, pattern.id, True).pinned
    back = record(pattern_changes.roll_back, person, pattern.id, 1)
    assert (back.version, back.title, back.steps) == (3, pattern.title, pattern.steps)
    history = record(patterns.history, scope, pattern.id, 10)
    told = [(line.change, line.version, line.user_id) for line in reversed(history)]
    assert told == [
        ("learned", 1, None),
        ("edited", 2, person.user_id),
        ("pinned", 2, person.user_id),
        ("rolled back", 3, person.user_id),
    ]
    with pytest.raises(NotFound, match="no version 9"):
        record(pattern_changes.roll_back, person, pattern.id, 9)


def test_a_lesson_learned_again_after_an_edit_does_not_undo_the_edit(record: Record, scope: AccountScope) -> None:
    pattern = learned(record, scope)
    record(pattern_changes.edit, scope, pattern.id, Content("In other words", "", []))
    again = learned(record, scope)
    assert (again.id, again.title, again.steps) == (pattern.id, "In other words", [])
    assert record(pattern_changes.expire, scope, "scout", {"note": "another"}) == [], "it no longer names the tool"


def test_the_graph_follows_what_an_edit_says_and_what_is_rolled_back(record: Record, scope: AccountScope) -> None:
    def uses() -> set[str]:
        nodes = {node.id: node for node in record(graph.nodes_after, RECONCILER, 0, 100, scope.account_id)}
        edges = record(graph.edges_after, RECONCILER, graph.FIRST_EDGE, 100_000)
        return {nodes[edge.to_id].key for edge in edges if edge.account_id == scope.account_id and edge.kind == "USES"}

    pattern = learned(record, scope)
    record(pattern_changes.edit, scope, pattern.id, Content("", "", [pattern.steps[0], {"tool": "calculator"}]))
    assert uses() == {"web_search", "calculator"}
    record(pattern_changes.roll_back, scope, pattern.id, 1)
    assert uses() == {"web_search", "note"}


def test_measurements_leave_a_pinned_pattern_alone(record: Record, scope: AccountScope) -> None:
    pattern = learned(record, scope)
    record(pattern_changes.pin, scope, pattern.id, True)
    with pytest.raises(Conflict, match="people only"):
        record(pattern_changes.move, scope, pattern.id, PatternState.QUARANTINED, "went worse")
    assert record(pattern_changes.expire, scope, "scout", {"note": "another"}) == []
    person = AccountScope(scope.account_id, new_id())
    assert record(pattern_changes.move, person, pattern.id, PatternState.QUARANTINED).state == "quarantined"


def test_a_pattern_expires_when_a_tool_it_names_is_another_one(record: Record, scope: AccountScope) -> None:
    pattern = learned(record, scope)
    other = learned(record, scope, digest="only search", tools={"web_search": "a1"})
    elsewhere = learned(record, scope, digest="elsewhere", agent="another agent")
    same = {"web_search": "a1", "calculator": "new"}
    assert record(pattern_changes.expire, scope, "scout", same) == []
    assert record(pattern_changes.expire, scope, "scout", {**same, "note": "b3"}) == [pattern.id]
    states = {each.id: each.state for each in record(patterns.get_all, scope, [pattern.id, other.id, elsewhere.id])}
    assert states == {pattern.id: "retired", other.id: "active", elsewhere.id: "active"}


def test_an_account_neither_sees_nor_changes_another_s_patterns(
    record: Record, scope: AccountScope, make_account: Callable[[], AccountScope]
) -> None:
    pattern, stranger = learned(record, scope), make_account()
    mine = learned(record, stranger)
    assert mine.id != pattern.id
    assert record(patterns.get_all, stranger, [pattern.id, mine.id]) == [mine]
    assert record(patterns.evidence, stranger, pattern.id, 10) == []
    assert record(patterns.history, stranger, pattern.id, 10) == []
    for change, given in (
        (patterns.get, ()),
        (pattern_changes.pin, (True,)),
        (pattern_changes.roll_back, (1,)),
        (pattern_changes.edit, (Content("mine", "", []),)),
        (pattern_changes.move, (PatternState.RETIRED,)),
    ):
        with pytest.raises(NotFound):
            record(change, stranger, pattern.id, *given)
    run = new_id()
    record(pattern_uses.offer, stranger, run, new_id(), [pattern_uses.Offered(pattern.id, 1, 0.9, 1)])
    assert record(pattern_uses.of_run, stranger, run) == []


def test_lists_are_filtered_and_continued(record: Record, scope: AccountScope) -> None:
    made = [learned(record, scope, digest=str(n)) for n in range(3)]
    learned(record, scope, shown(None), digest="pitfall", kind=PatternKind.PITFALL, agent="other")
    page = record(patterns.list_patterns, scope, None, 2, state=PatternState.ACTIVE)
    assert [row.id for row in page] == [made[2].id, made[1].id]
    rest = record(patterns.list_patterns, scope, page[-1].id, 2, kind=PatternKind.WORKFLOW, agent="scout")
    assert [row.id for row in rest] == [made[0].id]
    assert [row.id for row in record(patterns.after, RECONCILER, made[0].id, 1, scope.account_id)] == [made[1].id]
    assert record(patterns.count, RECONCILER, scope.account_id) == 4


def test_what_a_run_was_offered_is_recorded_once_and_held_out_runs_too(record: Record, scope: AccountScope) -> None:
    pattern, run, held = learned(record, scope), new_id(), new_id()
    offered = [pattern_uses.Offered(pattern.id, 1, 0.75, 1)]
    record(pattern_uses.offer, scope, run, new_id(), offered)
    record(pattern_uses.offer, scope, run, new_id(), [pattern_uses.Offered(pattern.id, 2, 0.1, 3)])
    for _ in range(2):
        record(pattern_uses.offer, scope, held, new_id(), [], held_out=True)
    record(pattern_uses.followed, scope, run, {pattern.id: (True, 0.5)})
    (use,) = record(pattern_uses.of_run, scope, run)
    assert use[:-1] == (pattern.id, 1, 0.75, 1, False, True, 0.5)
    (none,) = record(pattern_uses.of_run, scope, held)
    assert (none.pattern_id, none.held_out) == (None, True)
