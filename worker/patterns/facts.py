"""What a run adds to the graph: who asked for what, which tools did it, what came of it, and what it taught."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

from models.patterns import EdgeKind, NodeKind, PatternKind
from models.repositories.graph import Edge, Node
from models.repositories.lessons import RunTold, StepTold
from models.repositories.patterns import NewPattern
from models.tasks import StepStatus
from worker.patterns.lessons import Taught
from worker.patterns.roles import RESULT
from worker.patterns.trace import Call, Ended

CODE = "code"


@dataclass(frozen=True, slots=True)
class Known:
    """A pattern a run showed.

    Attributes:
        id: which it is recorded by.
        pattern: what it says.
        supersedes: those whose place it takes.
        derived: whether the run is one of its first: the graph keeps these only.
    """

    id: UUID
    pattern: NewPattern
    supersedes: tuple[UUID, ...] = ()
    derived: bool = True


def facts_of(
    run: RunTold, steps: Sequence[StepTold], calls: Sequence[Call], taught: Taught, known: Sequence[Known]
) -> list[Edge]:
    """Return the edges a run adds; names of tools, words and codes are as the lessons have them."""
    concepts = [Node(NodeKind.CONCEPT, each) for each in taught.concepts]
    task = Node(NodeKind.TASK, str(run.task_id), {"workflow": run.workflow})
    this = Node(NodeKind.RUN, str(run.run_id), {"status": run.status})
    edges = [Edge(this, EdgeKind.PART_OF, task), *_all(task, EdgeKind.RELATES_TO, concepts)]
    edges += _of_people(run, task, concepts)
    edges += _of_tools(this, calls, concepts)
    edges += _of_artifacts(steps, task, this, concepts)
    edges += [Edge(one, EdgeKind.RELATED_TO, other) for one, other in pairwise(sorted(concepts, key=_key))]
    return edges + [edge for each in known for edge in _of_pattern(each, this, concepts)]


def _all(left: Node, kind: EdgeKind, rights: Iterable[Node]) -> Iterator[Edge]:
    return (Edge(left, kind, right) for right in rights)


def _key(node: Node) -> str:
    return node.key


def _of_people(run: RunTold, task: Node, concepts: Sequence[Node]) -> list[Edge]:
    edges: list[Edge] = []
    named = run.input.get("session") if isinstance(run.input, dict) else None
    session = Node(NodeKind.SESSION, named) if isinstance(named, str) else None
    if session is not None:
        edges += [Edge(session, EdgeKind.CONTAINS, task), Edge(task, EdgeKind.BELONGS_TO, session)]
    if run.user_id is not None:
        user = Node(NodeKind.USER, str(run.user_id))
        edges += [Edge(user, EdgeKind.CREATED, task), *_all(user, EdgeKind.INTERESTED_IN, concepts)]
        edges += [Edge(user, EdgeKind.HAS_SESSION, session)] if session is not None else []
    return edges


def _of_tools(run: Node, calls: Sequence[Call], concepts: Sequence[Node]) -> list[Edge]:
    edges: list[Edge] = []
    for name in sorted({call.tool for call in calls}):
        own = [call for call in calls if call.tool == name]
        failed = [call for call in own if call.ended is Ended.FAILED]
        told = {"calls": len(own), "failed": len(failed)}
        tool = Node(NodeKind.TOOL, name)
        edges.append(Edge(run, EdgeKind.USED_TOOL, tool, told))
        edges += _all(tool, EdgeKind.SUPPORTS, concepts) if len(failed) < len(own) else ()
        codes = sorted({str(call.error) for call in failed})
        edges += _all(tool, EdgeKind.FAILED_ON, (Node(NodeKind.ERROR_CLASS, code) for code in codes))
    return edges


def _of_artifacts(steps: Sequence[StepTold], task: Node, run: Node, concepts: Sequence[Node]) -> list[Edge]:
    edges: list[Edge] = []
    for kept in _kept(steps):
        kind = str(kept.get("type", ""))
        made = Node(NodeKind.ARTIFACT, str(kept["artifact_id"]), {"type": kind} if kind else {})
        edges += [Edge(made, EdgeKind.GENERATED_BY, run), Edge(made, EdgeKind.BELONGS_TO, task)]
        edges += _all(made, EdgeKind.IMPLEMENTS, concepts) if kind == CODE else ()
    return edges


def _kept(steps: Sequence[StepTold]) -> Iterator[dict[str, Any]]:
    """Artifacts that steps made themselves, and those that were kept of tools' results."""
    for step in steps:
        result = step.result if step.status == StepStatus.COMPLETED else None
        if isinstance(result, dict):
            listed = result.get("artifacts") if step.kind == "tool" else [result] if step.kind == "artifact" else []
            yield from (each for each in listed or [] if isinstance(each, dict) and each.get("artifact_id"))


def _of_pattern(known: Known, run: Node, concepts: Sequence[Node]) -> list[Edge]:
    new = known.pattern
    this = Node(NodeKind.PATTERN, str(known.id), {"kind": str(new.kind)})
    edges = [*_all(this, EdgeKind.SOLVES, concepts)]
    edges += [Edge(this, EdgeKind.DERIVED_FROM, run)] if known.derived else []
    edges += _all(this, EdgeKind.SUPERSEDES, (Node(NodeKind.PATTERN, str(each)) for each in known.supersedes))
    for step in new.steps:
        tool = Node(NodeKind.TOOL, step["tool"])
        edges.append(Edge(this, EdgeKind.USES, tool))
        sources = sorted({role[len(RESULT) :] for role in step["arguments"].values() if role.startswith(RESULT)})
        edges += _all(tool, EdgeKind.DEPENDS_ON, (Node(NodeKind.TOOL, each) for each in sources if each != tool.key))
        if code := step.get("error"):
            kind = EdgeKind.SOLVES if new.kind is PatternKind.FIX else EdgeKind.FAILED_ON
            edges.append(Edge(this, kind, Node(NodeKind.ERROR_CLASS, code)))
    return edges
