"""A Hypothesis state machine: any order of what workers, people, the reconciler and time may do to the record.

Every rule does the same with the product's repositories, on PostgreSQL with a fake clock, and with the reference, and
compares what came of it; after every rule all rows are compared. Workers freeze by not being asked to do anything, and
wake by writing under the fence they had.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from models.errors import ModelError
from models.events import FINAL, EventType
from models.repositories import journal, requests, runs, sweep, tasks
from models.repositories.writes import Hold, LettingGo, Move, NewEvent, StepWrite, Write
from models.scope import ENGINE, RECONCILER, AccountScope
from models.tasks import Effect
from tests.engine.fake_clock import START, Clock
from tests.engine.holders import ERROR, WAYS, Held
from tests.engine.reference import LIVE, Record, Reference, Run, Step, Task, record

LEASE_S = 3
EFFECTS = {"look": Effect.PURE, "call": Effect.IDEMPOTENT, "pay": Effect.UNSAFE}
TASKS_MAX = 4

#: Those who hold a run, and, as often, any that ever did.
HOLDERS = st.runner().flatmap(
    lambda machine: st.sampled_from(machine.holders() or machine.held) | st.sampled_from(machine.held)
)
KEYS = st.sampled_from(list(EFFECTS))
WORKERS = st.sampled_from(["ada", "bob", "eve"])


class RecordMachine(RuleBasedStateMachine):
    """See the module."""

    submitted: Bundle[UUID] = Bundle("submitted")

    def __init__(self, clock: Clock, account: UUID) -> None:
        super().__init__()
        self.clock, self.scope = clock, AccountScope(account)
        self.expected = Reference(START, timedelta(seconds=LEASE_S))
        self.held: list[Held] = []
        self.results: dict[tuple[UUID, str], Any] = {}  # of completed steps, as first seen
        self.effects: Counter[tuple[UUID, str]] = Counter()  # unsafe effects begun, by first run and key
        self.allowed: Counter[tuple[UUID, str]] = Counter()  # and those allowed after the first
        self.numbers = 0
        self.sound = False
        clock.set(START)

    def teardown(self) -> None:
        """Unless something was found already, see that all tasks can be brought to an end; leave no rows."""
        try:
            if self.sound:
                self._all_ends()
        finally:
            self.clock.database.run(_empty)

    # Helpers

    def do(self, operation: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Run an operation of a repository in a transaction; return what it gave, or its refusal's class."""
        self.sound = False  # until the rows were compared
        try:
            return self.clock.database.run(lambda connection: operation(connection, *arguments, **named))
        except ModelError as error:
            return type(error)

    def run_of(self, held: Held) -> Run:
        return self.expected.rows.runs[held.hold.run_id]

    def holders(self) -> list[Held]:
        """Return those whose fence is the one that counts."""
        return [held for held in self.held if self.expected.holds(self.run_of(held), held.hold.fence)]

    def after(self, seconds: float | None) -> datetime | None:
        return None if seconds is None else self.expected.now + timedelta(seconds=seconds)

    # Time

    @rule(seconds=st.sampled_from([1, 2, LEASE_S, LEASE_S + 1, 10]))
    def time_passes(self, seconds: int) -> None:
        self._pass(seconds)

    def _pass(self, seconds: int) -> None:
        self.expected.now += timedelta(seconds=seconds)
        self.clock.set(self.expected.now)

    # Submitting

    @initialize(target=submitted, limit=st.sampled_from([None, 1]), worker=WORKERS)
    def begin_with_one_claimed(self, limit: int | None, worker: str) -> Any:
        made = [self._submit(None, "1", priority=5, run_after=None, deadline=None, limit=limit) for _ in "12"]
        self._claim(worker, [self.expected.run_of(made[0])])
        return multiple(*made)

    @precondition(lambda self: len(self.expected.rows.tasks) < TASKS_MAX)
    @rule(
        target=submitted,
        idempotency_key=st.sampled_from([None, None, "x", "y"]),
        body=st.sampled_from(["1", "2"]),
        priority=st.sampled_from([1, 5, 9]),
        run_after=st.sampled_from([None, None, None, 2]),
        deadline=st.sampled_from([None, None, None, 1, 8]),
        limit=st.sampled_from([None, None, 1, 2]),
    )
    def submit(self, **given: Any) -> Any:
        return self._submit(**given)

    def _submit(self, idempotency_key: str | None, body: str, **options: Any) -> Any:
        new = self._new(idempotency_key, body, **options)
        known = self.expected.keyed(idempotency_key, body)
        made = self.do(tasks.submit, self.scope, new)
        if isinstance(known, type):
            assert made is known
            return multiple()
        if known is not None:
            assert (made.task.id, made.created, made.due) == (known.id, False, False)
            return multiple()
        task = Task(made.task.id, made.task.run_id, idempotency_key, body)
        run = Run(
            task.run_id, task.id, task.run_id, new.run_after or self.expected.now, None, new.priority, 1, new.deadline,
            new.concurrency_key and f"key:{new.concurrency_key}", new.concurrency_limit,
        )  # fmt: skip
        self.expected.submit(task, run)
        assert (made.created, made.due) == (True, run.rung_at is not None)
        return task.id

    def _new(self, idempotency_key: str | None, body: str, **options: Any) -> tasks.NewTask:
        limit = options["limit"]
        return tasks.NewTask(
            workflow="example",
            input={"body": body},
            max_attempts=4,
            priority=options["priority"],
            run_after=self.after(options["run_after"]),
            deadline=self.after(options["deadline"]),
            concurrency_key=limit and "shared",
            concurrency_limit=limit,
            idempotency_key=idempotency_key,
            request_hash=body,
        )

    # Claiming and renewing

    @rule(worker=WORKERS, some=st.lists(submitted, min_size=1, max_size=3, unique=True))
    def claim(self, worker: str, some: list[UUID]) -> None:
        """Bells may name any runs, ended ones too."""
        self._claim(worker, [run for run in self.expected.rows.runs.values() if run.task_id in some])

    def _claim(self, worker: str, named: list[Run]) -> None:
        claims = self.do(runs.claim_all, ENGINE, [run.id for run in named], worker, LEASE_S)
        given = {run.id: claim for run, claim in zip(named, claims, strict=True)}
        for run in sorted(named, key=lambda run: (run.concurrency_limit is not None, -run.priority, run.id)):
            claim = given[run.id]
            assert (claim is not None) == self.expected.claim(run, worker), f"wrongly claimed or not: {run}"
            if claim is not None:
                self._check_claim(claim, run)
                self._take(worker, claim)

    def _check_claim(self, claim: runs.Claim, run: Run) -> None:
        seq, kind, _ = self.expected.rows.events[run.task_id][-1]
        assert (claim.frame["seq"], claim.frame["type"], claim.last_seq) == (seq, kind, seq)
        assert (claim.fence, claim.failures, claim.crashes) == (run.fence, run.failures, run.crashes)
        assert (claim.root_id, claim.error, claim.now) == (run.root_id, run.error, self.expected.now)
        assert claim.cancel_requested == (run.cancel_requested_at is not None)
        assert claim.pause_requested == (run.pause_requested_at is not None)
        replayed = {row.key: (row.status, row.result, row.attempts, row.idempotency_key) for row in claim.steps}
        recorded = self.expected.steps_of(run.id).values()
        assert replayed == {s.key: (s.status, s.result, s.attempts, s.idempotency_key) for s in recorded}

    def _take(self, worker: str, claim: runs.Claim) -> None:
        hold = Hold(claim.run_id, claim.task_id, claim.account_id, claim.fence, claim.last_seq, claim.concurrency_key)
        self.held.append(Held(worker, claim, hold, {row.key: row.attempts for row in claim.steps}))

    @rule(held=HOLDERS, worker=WORKERS)
    def lose_and_take_over(self, held: Held, worker: str) -> None:
        """A worker freezes or dies until its lease has run out, and another is rung; it may wake later."""
        self._pass(LEASE_S + 1)
        self._claim(worker, [self.run_of(held)])

    @rule(worker=WORKERS)
    def heartbeat(self, worker: str) -> None:
        newest = {held.hold.run_id: held.hold.fence for held in self.held if held.worker == worker}
        holds = list(newest.items())
        assert self.do(runs.renew, ENGINE, holds, LEASE_S) == self.expected.renew(holds)
        asked = self.do(runs.requests, ENGINE, worker)
        assert {(r.run_id, r.fence, r.cancel, r.pause) for r in asked} == self.expected.requests(worker)

    # Steps

    @rule(held=HOLDERS, key=KEYS)
    def begin_step(self, held: Held, key: str) -> None:
        self._begin(held, key)

    def _begin(self, held: Held, key: str) -> None:
        """Do as `worker/journal.py` does: an unsafe step found in doubt waits for a person, and obeys."""
        row = next((row for row in held.claim.steps if row.key == key), None)
        unsafe = EFFECTS[key] is Effect.UNSAFE
        done = row is not None and row.status == "completed"
        if unsafe and (done or held.own.get(key) in ("started", "completed")):
            return None  # under way, or its result is used
        if unsafe and row is not None and row.status == "started":
            verdict = row.decision and row.decision["verdict"]
            if verdict is None:
                return self._let_go(held, "is in doubt")
            if verdict != "repeat":
                return self._write(held, key, "completed" if verdict == "skip" else "failed")
        held.attempts[key] = held.attempts.get(key, 0) + 1
        return self._write(held, key, "started")

    @rule(held=HOLDERS, key=KEYS, status=st.sampled_from(["completed", "failed"]))
    def end_step(self, held: Held, key: str, status: str) -> None:
        if EFFECTS[key] is not Effect.UNSAFE or held.own.get(key) == "started":
            self._write(held, key, status)

    def _write(self, held: Held, key: str, status: str) -> None:
        self.numbers += 1
        step = StepWrite(
            key, list(EFFECTS).index(key) + 1, "example", EFFECTS[key], status, held.attempts.get(key, 1),
            f"{held.claim.root_id}:{key}",
            result={"number": self.numbers} if status == "completed" else None,
            error=ERROR if status == "failed" else None,
        )  # fmt: skip
        event = NewEvent(EventType(f"step.{status}"), {"step": key})
        held.last = Write(held.hold, held.hold.seq, [step], [event], starting=status == "started")
        if self._send(held, held.last):
            self._note(held, key, status)

    def _note(self, held: Held, key: str, status: str) -> None:
        held.hold.seq += 1
        held.own[key] = status
        counted = (held.claim.root_id, key)
        self.effects[counted] += status == "started" and EFFECTS[key] is Effect.UNSAFE
        self.allowed[counted] += status == "failed"

    def _send(self, held: Held, write: Write) -> bool:
        """Send a write to both; return whether it was accepted."""
        run, hold, (given,) = self.run_of(held), write.hold, write.steps
        refusal = self.expected.refused(run, hold.fence, write.seq, starting=write.starting)
        outcome = self.do(journal.record, ENGINE, write, LEASE_S)
        if refusal is None:
            step = Step(
                run.id, given.key, given.effect, given.status, hold.fence, given.attempts, given.idempotency_key,
                given.result, given.error,
            )  # fmt: skip
            self.expected.write(run, step, write.events[0].type)
        elif not self.expected.repeated(run, hold.fence, write.seq + 1, write.events[0].type):
            assert outcome is refusal, f"{held} was not refused"
            return False
        assert [frame["seq"] for frame in outcome] == [write.seq + 1]
        return True

    @rule(held=HOLDERS)
    def repeat_the_last_write(self, held: Held) -> None:
        """As after a commit whose answer was lost."""
        if held.left is not None:
            self._send_move(held, held.left)
        elif held.last is not None:
            self._send(held, held.last)

    # Letting go

    @rule(held=HOLDERS, way=st.sampled_from(list(WAYS)))
    def let_go(self, held: Held, way: str) -> None:
        self._let_go(held, way)

    @rule(held=HOLDERS, key=KEYS, way=st.sampled_from(["fails", "dies"]))
    def end_within_a_step_and_retry(self, held: Held, key: str, way: str) -> None:
        """As when the deadline passes in the middle of an effect: the next run must know what is in doubt."""
        self._begin(held, key)
        self._let_go(held, way)
        self._retry(self.expected.run_of(held.hold.task_id))

    def _let_go(self, held: Held, way: str) -> None:
        status, event, rest = WAYS[way]
        rest = rest | {"resume_at": self.after(rest.get("resume_at"))}
        held.left = LettingGo(held.hold, held.hold.seq, Move(status, NewEvent(event), **rest))
        if self._send_move(held, held.left):
            held.hold.seq += 1

    def _send_move(self, held: Held, letting_go: LettingGo) -> bool:
        run, hold, to = self.run_of(held), letting_go.hold, letting_go.to
        refusal = self.expected.refused(run, hold.fence, letting_go.seq)
        moved = self.do(journal.move, ENGINE, letting_go)
        if refusal is None:
            values = {name: getattr(to, name) for name in ("reason", "resume_at", "result", "error", "failures")}
            self.expected.move(run, to.status, to.event.type, **values)
            due = run.status == "waiting" and (
                self.expected.passed(run.resume_at) or run.cancel_requested_at is not None
            )
            assert moved.due == due
        elif not self.expected.repeated(run, hold.fence, letting_go.seq + 1, to.event.type):
            assert moved is refusal, f"{held} was not refused"
            return False
        assert [frame["seq"] for frame in moved.frames] == [letting_go.seq + 1]
        assert (moved.next_run and moved.next_run[0]) == self.expected.next_run(run)
        return True

    # People

    @rule(
        task=submitted,
        what=st.sampled_from(
            ["cancel", "pause", "resume", "repeat", "skip", "fail", "retry", "retry", "accepted", "rejected"]
        ),
    )
    def ask(self, task: UUID, what: str) -> None:
        self._ask_for(task, what)

    @rule(held=HOLDERS, key=KEYS, what=st.sampled_from(["cancel", "cancel", "pause"]))
    def ask_and_begin_step(self, held: Held, key: str, what: str) -> None:
        """I9: what was asked counts from the next step on, whether or not the worker has heard of it."""
        self._ask_for(held.hold.task_id, what)
        self._begin(held, key)

    def _ask_for(self, task: UUID, what: str) -> None:
        run = self.expected.run_of(task)
        match what:
            case "cancel":
                self._ask(self.expected.cancel(run), requests.cancel, task)
            case "pause":
                self._ask(self.expected.pause(run), requests.pause, task)
            case "retry":
                self._retry(run)
            case "accepted" | "rejected":
                self._ask(self.expected.decide(run, what), requests.decide, task, what, None)
            case _:
                self._resume(task, None if what == "resume" else what)

    def _ask(self, expected: Any, operation: Callable[..., Any], task: UUID, *arguments: Any) -> None:
        outcome = self.do(operation, self.scope, task, *arguments)
        assert (outcome if isinstance(outcome, type) else None) is expected

    def _resume(self, task: UUID, verdict: str | None) -> None:
        run = self.expected.run_of(task)
        undecided = [step for step in self.expected.steps_of(run.id).values() if step.decision is None]
        self._ask(self.expected.resume(run, verdict), requests.resume, task, verdict)
        for step in undecided:
            self.allowed[run.root_id, step.key] += step.decision == "repeat"

    def _retry(self, run: Run) -> None:
        asked = self.do(requests.retry, self.scope, run.task_id)
        assert isinstance(asked, requests.Asked) == self.expected.may_retry(run), f"wrongly retried or not: {run}"
        if isinstance(asked, requests.Asked):
            self.expected.retry(run, asked.run_id)

    # The reconciler

    @rule(again_s=st.sampled_from([1, 60]), limit=st.sampled_from([1, 100]), rering=st.booleans(), broker=st.booleans())
    def reconcile(self, again_s: int, limit: int, *, rering: bool, broker: bool) -> None:
        rung = self._reconcile(again_s, limit, rering=rering)
        if not broker:
            self.do(sweep.unring, RECONCILER, [run.id for run in rung])
            for run in rung:
                run.rung_at = None

    def _reconcile(self, again_s: int, limit: int, *, rering: bool) -> list[Run]:
        due = self.do(sweep.due, RECONCILER, again_s, limit, rering=rering)
        expected = self.expected.sweep(timedelta(seconds=again_s), limit, rering=rering)
        assert {each.run_id for each in due} == expected
        for each in due:
            assert each.recovery == (self.expected.rows.runs[each.run_id].status != "queued")
        return [self.expected.rows.runs[each.run_id] for each in due]

    def _all_ends(self) -> None:
        """I1: bells from the reconciler alone, a worker that ends what it claims, and a person bring all to an end."""
        for _ in range(3):
            self._pass(1000)
            for task in self.expected.rows.tasks.values():
                if task.waiting in ("paused", "in_doubt") or self._pausing(task):
                    self._resume(task.id, "skip")
            for run in self._reconcile(1, 100, rering=True):
                self._claim("zoe", [run])
                if run.status == "running":
                    self._let_go(self.held[-1], "succeeds")
        assert not [task for task in self.expected.rows.tasks.values() if task.status in LIVE], "I1: lost"
        self.the_record_is_as_expected()

    def _pausing(self, task: Task) -> bool:
        run = self.expected.run_of(task.id)
        return run.status in LIVE and run.pause_requested_at is not None

    # What must always hold

    @invariant()
    def the_record_is_as_expected(self) -> None:
        found = self.clock.database.read(lambda connection: record(connection, self.scope.account_id))
        self._promises(found)
        assert found == self.expected.rows
        self.sound = True

    def _promises(self, found: Record) -> None:
        """Check what the rows alone must show, whatever the reference says."""
        for task_id, task in found.tasks.items():
            events = found.events[task_id]
            assert [seq for seq, _, _ in events] == list(range(1, task.last_seq + 1)), "I6: a gap"
            assert task.status == found.runs[task.run_id].status, "a task's status is its run's"
        for run_id in found.runs:
            types = [kind for events in found.events.values() for _, kind, run in events if run == run_id]
            ends = [n for n, kind in enumerate(types) if kind in FINAL]
            assert len(ends) <= 1, "I3: ended twice"
            assert not ends or set(types[ends[0] + 1 :]) <= {"approval.decided"}, "I3: written to after its end"
        for place, step in found.steps.items():
            assert step.fence <= found.runs[step.run_id].fence, "I2"
            if step.status == "completed":
                assert self.results.setdefault(place, step.result) == step.result, "I4: a result was replaced"
        for counted, times in self.effects.items():
            assert times <= 1 + self.allowed[counted], "an unsafe effect was repeated without a person's word"


def _empty(connection: Any) -> None:
    for table in ("events", "steps", "runs", "tasks"):
        connection.exec_driver_sql(f"DELETE FROM {table}")
