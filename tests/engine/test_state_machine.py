"""Model-based: whatever workers, people, the reconciler and time do in whatever order, the record keeps its promises.

`UMBEL_HYPOTHESIS=nightly` tries 20,000 programs instead of 200. A failure prints the shortest program found and a blob
that replays it.
"""

import os
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy.exc import IntegrityError

from config.settings import Settings
from models.prepared import Prepared
from models.repositories import accounts, journal, requests, runs, sweep
from models.scope import OPERATIONS
from models.tasks import Status
from tests.engine.fake_clock import START, Clock, clocked_database
from tests.engine.record_machine import RecordMachine

pytestmark = pytest.mark.stack

PROGRAMS = 20_000 if os.environ.get("UMBEL_HYPOTHESIS") == "nightly" else 60
CAREFULLY = hypothesis_settings(
    max_examples=PROGRAMS,
    stateful_step_count=30,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
#: For showing that the machine can fail: no shrinking, nothing remembered, and always the same search.
ROUGHLY = hypothesis_settings(
    CAREFULLY, max_examples=2000, database=None, phases=[Phase.generate], print_blob=False, derandomize=True
)


@pytest.fixture(scope="module")
def clock(settings: Settings) -> Iterator[Clock]:
    with clocked_database(settings) as clock:
        yield clock


@pytest.fixture(scope="module")
def machine(clock: Clock) -> Any:
    account = clock.database.run(partial(accounts.create_account, scope=OPERATIONS, name="machine"))
    return partial(RecordMachine, clock, account)


def test_every_statement_reads_the_fake_clock(clock: Clock) -> None:
    ask = Prepared("clock_test", "SELECT now() + %(later)s::interval, clock_timestamp()")
    asked = {"later": "0 s"}
    for moment in (START, START + timedelta(days=1)):
        clock.set(moment)
        assert clock.database.run(lambda connection: tuple(ask(connection, asked).one())) == (moment, moment)


def test_the_record_does_what_the_model_does(machine: Any) -> None:
    run_state_machine_as_test(machine, settings=CAREFULLY)


FENCED = "runs.fence = given.fence AND"
NUMBERED = "AND EXISTS (SELECT 1 FROM tasks WHERE tasks.id = given.task AND tasks.last_seq = given.seq)"
#: What each takes out of a statement: module, statement, and pairs of text and what stands for it.
BROKEN: dict[str, tuple[Any, str, dict[str, str]]] = {
    "any fence may write": (
        journal,
        "_RECORD",
        {FENCED: "", NUMBERED: "", "held.n, held.seq,": "held.n, tasks.last_seq - held.count AS seq,"},
    ),
    "any fence may let go": (
        journal,
        "_MOVE",
        {FENCED: "", NUMBERED: "", "given.seq, given.event": "tasks.last_seq - 1 AS seq, given.event"},
    ),
    "any fence renews": (runs, "_RENEW", {"AND runs.fence = held.fence": ""}),
    "a live lease is stolen": (runs, "_CLAIM", {"lease_until < now()": "lease_until < now() + interval '1 minute'"}),
    "a claim keeps the fence": (runs, "_CLAIM", {"fence = fence + 1": "fence = greatest(fence, 1)"}),
    "a limit is passed": (runs, "_CLAIM", {"concurrency_limit > (": "concurrency_limit + 1 > ("}),
    "a result is replaced": (journal, "_RECORD", {"WHERE steps.status <> 'completed'": ""}),
    "a step starts after a cancel": (
        journal, "_RECORD", {"AND (NOT given.starting OR runs.cancel_requested_at IS NULL)": ""}
    ),
    "another's event is taken for one's own": (
        journal, "_TRACES", {"IS DISTINCT FROM (%(run)s, e.type, e.data)": "IS NULL AND false"}
    ),
    "a number is used twice": (journal, "_MOVE", {"last_seq = last_seq + 1": "last_seq = last_seq"}),
    "a doubt is forgotten": (requests, "_RETRY_STEPS", {"OR effect <> 'pure'": ""}),
    "a lost lease is not rung": (sweep, "_DUE", {"status = 'running' AND (lease_until": "false AND (lease_until"}),
    "a bell from before the loss counts": (sweep, "_DUE", {"rung_at < lease_until": "false"}),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_the_machine_notices_that(broken: str, machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The permanent negative test: a machine that can't fail would prove nothing."""
    module, name, changes = BROKEN[broken]
    statement = getattr(module, name)
    sql = statement.sql if isinstance(statement, Prepared) else statement
    for sound, unsound in changes.items():
        assert sql.count(sound) == 1, f"{sound!r} is not in {module.__name__}.{name} once; take out what it is now"
        sql = sql.replace(sound, unsound)
    monkeypatch.setattr(module, name, Prepared("broken", sql) if isinstance(statement, Prepared) else sql)
    with pytest.raises((AssertionError, IntegrityError)):
        run_state_machine_as_test(machine, settings=ROUGHLY)


def test_the_machine_notices_a_retry_of_a_task_that_did_not_fail(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "RETRYABLE", frozenset(Status))
    with pytest.raises(AssertionError, match="wrongly retried"):
        run_state_machine_as_test(machine, settings=ROUGHLY)
