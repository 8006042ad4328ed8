"""How learning is asked for: a bell behind all others, and a look for runs whose bell was lost."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import redis
from sqlalchemy import text

from config.settings import Settings
from models.database import Database
from models.patterns import EdgeKind, NodeKind
from models.repositories import graph
from models.repositories.graph import Edge, Node
from models.scope import RECONCILER, AccountScope
from tasks import dispatch, doorbell, learning, maintenance
from tasks.queues import LEVELS
from tasks.workflows import app
from tests.engine.conftest import Lab
from tests.unit.test_doorbell import parts
from worker.patterns.learning import learn

pytestmark = pytest.mark.stack


@pytest.fixture
def ended(lab: Lab) -> Callable[[str], str]:
    """A run of an agent that ended a while ago and called nothing."""

    def make(workflow: str) -> str:
        task = lab.submit(workflow, {"prompt": "hello"})
        when = "status = 'succeeded', finished_at = now() - interval '1 hour'"
        lab.sql(f"UPDATE runs SET {when} WHERE id = :id", id=task.run_id)
        return str(task.run_id)

    return make


@pytest.fixture
def _maintained(settings: Settings) -> Iterator[None]:
    maintenance.database.cache_clear()
    yield
    maintenance.database().close()
    maintenance.database.cache_clear()


@pytest.fixture
def lab(database: Database, scope: AccountScope) -> Lab:
    return Lab(database, scope)


@pytest.mark.usefixtures("_maintained")
def test_runs_whose_bell_was_lost_are_learned_from_once(lab: Lab, ended: Callable[[str], str]) -> None:
    run, other = ended("agent"), ended("probe")
    assert learning.learn_missed() >= 1
    query = text("SELECT run_id::text, outcome FROM pattern_lessons WHERE account_id = :id")
    learned = lab.database.run(lambda c: dict(c.execute(query, {"id": lab.scope.account_id}).all()))
    assert learned == {run: "learned"}
    assert other not in learned
    assert learning.learn(run) == "known"


@pytest.mark.usefixtures("_maintained")
def test_nothing_is_looked_for_where_learning_is_off(
    lab: Lab, ended: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    ended("agent")
    monkeypatch.setattr(learning, "get_settings", lambda: settings.model_copy(update={"pattern_learning": False}))
    assert learning.learn_missed() == 0


def test_the_bell_is_heard_after_all_others_and_is_no_other_task_s_in_flower(lab: Lab, settings: Settings) -> None:
    key = doorbell.redis_key("batch", LEVELS[-1])
    client = redis.Redis.from_url(settings.redis_url.get_secret_value())
    client.delete(key)
    task = lab.submit("agent", {"prompt": "hello"})
    dispatch.line.cache_clear()
    assert not dispatch.ring_learning(task.run_id, "probe")
    assert not dispatch.ring_learning(task.run_id, "a workflow that was")
    assert dispatch.ring_learning(task.run_id, "agent")
    message = parts(client.rpop(key))
    assert client.llen(key) == 0
    client.close()
    assert message["headers"]["task"] == "patterns.learn"
    assert message["headers"]["id"] not in ("", str(task.run_id))
    assert message["body"][0] == [str(task.run_id)]


def test_bells_for_learning_never_look_like_a_long_queue_of_runs(lab: Lab, settings: Settings) -> None:
    key = doorbell.redis_key("batch", LEVELS[-1])
    client = redis.Redis.from_url(settings.redis_url.get_secret_value())
    client.delete(key)
    client.lpush(key, *["bell"] * (dispatch.LEARNING_MAX - 1))
    task = lab.submit("agent", {"prompt": "hello"})
    dispatch.line.cache_clear()
    assert [dispatch.ring_learning(task.run_id, "agent") for _ in range(2)] == [True, False]
    assert client.llen(key) == dispatch.LEARNING_MAX
    client.delete(key)
    client.close()


@pytest.mark.usefixtures("_maintained")
def test_the_graph_forgets_old_runs_that_taught_nothing(lab: Lab) -> None:
    ended, taught = (Node(NodeKind.RUN, name) for name in ("ended", "taught"))
    tool, pattern = Node(NodeKind.TOOL, "note"), Node(NodeKind.PATTERN, "p")
    edges = [Edge(ended, EdgeKind.USED_TOOL, tool), Edge(pattern, EdgeKind.DERIVED_FROM, taught)]
    lab.database.run(lambda connection: graph.write(connection, lab.scope, edges))
    assert learning.forget() == 0
    lab.sql("UPDATE graph_nodes SET created_at = now() - interval '91 days' WHERE account_id = :id",
            id=lab.scope.account_id)  # fmt: skip
    assert learning.forget() == 1
    left = lab.database.run(lambda c: graph.nodes_after(c, RECONCILER, 0, 10, lab.scope.account_id))
    assert {node.key for node in left} == {"taught", "note", "p"}
    told = text("SELECT count(*) FROM pattern_outbox WHERE account_id = :id AND op = 'delete'")
    assert lab.database.run(lambda c: c.execute(told, {"id": lab.scope.account_id}).scalar()) == 1


@pytest.mark.usefixtures("_maintained")
def test_a_run_that_can_not_be_learned_from_keeps_no_other_waiting(
    lab: Lab, ended: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = ended("agent"), ended("agent")

    def fails_for_one(connection: Any, run_id: UUID) -> Any:
        if str(run_id) == first:
            raise ValueError("of whatever kind")
        return learn(connection, run_id)

    monkeypatch.setattr(learning, "learn_from", fails_for_one)
    assert learning.learn_missed() >= 2
    assert "a run was not learned from" in caplog.text
    assert learning.learn(second) == "known"


def test_only_workflows_that_say_so_are_learned_from() -> None:
    assert app.tasks["workflow.agent"].run is not app.tasks["workflow.probe"].run
