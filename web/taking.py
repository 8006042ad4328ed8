"""Takes results over: the changes of a task that names a project become its next snapshot, or are told to have drifted.

A file has drifted if the project's newest snapshot has neither the text the task began with nor the one it came to.
What others changed in files the task leaves alone is no drift.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

from models.blobs import Received, receiving
from models.errors import Conflict, NotFound, ProjectDrift
from models.media import looks_like_text
from models.repositories import projects, requests, tasks
from models.repositories.projects import Entry
from models.repositories.requests import Asked
from models.repositories.tasks import TaskRow
from models.scope import AccountScope
from models.tasks import Status
from web.blobs import beside
from web.errors import Invalid
from web.merging import Effort, Merged, merge
from web.projects import COMPARED_MAX, checked
from web.schemas.projects import check_path
from web.schemas.tasks import Accept
from web.services import services
from worker.code import Change, EditError, apply, parse_diff
from worker.code.applying import against

#: How often an answer is worked out anew because somebody saved the project meanwhile.
TRIES = 5
#: Most drifted files an error's text names; its `files` has them all.
NAMED_MAX = 5


class _SavedMeanwhileError(Exception):
    """Files are not those the plan was made for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of a project's newest snapshot, number `head`: texts by path, and which of them were merged."""

    project_id: UUID
    head: int
    files: Mapping[str, str | None]
    merged: tuple[str, ...] = ()


def accept(scope: AccountScope, task_id: UUID, body: Accept) -> Asked:
    """Record that a result was accepted; if its task names a project, save the changes there in the same transaction.

    Raises:
        NotFound: the account has no such task.
        Conflict: it has not succeeded, was rejected, or its project is gone.
        ProjectDrift: others changed files it changes, and `body` does not say what shall become of them.
        Invalid: `body` resolves what has not drifted, or the result can't lie in a project.
    """
    task = services().database.read(lambda connection: tasks.get(connection, scope, task_id))
    project_id = (task.input or {}).get("project_id")
    if project_id is None and (body.merge or body.resolution):
        raise Invalid("The task names no project; leave merge and resolution out.")
    if project_id is None or task.status != Status.SUCCEEDED or task.decision is not None:
        return services().database.run(lambda c: requests.decide(c, scope, task_id, "accepted", body.comment))
    for _ in range(TRIES):
        try:
            return _carry_out(scope, task, _plan(scope, task, UUID(project_id), body), body)
        except _SavedMeanwhileError:
            continue
    raise Conflict("The same files are being saved all the time. Try again in a moment.", state=task.status)


def _plan(scope: AccountScope, task: TaskRow, project_id: UUID, body: Accept) -> Plan:
    changes = {each.path: each for each in _changes(task)}
    try:
        plan, open_files = _look(scope, task, project_id, changes)
    except NotFound:
        raise Conflict("The task's project is gone. Save the files elsewhere, or reject the result.") from None
    resolved = {each.path: each.content for each in body.resolution}
    if body.snapshot not in (None, plan.head):
        resolved = {}  # made for files that have changed again
    elif unknown := sorted(resolved.keys() - open_files.keys()):
        raise Invalid(fields=[{"field": "resolution", "message": f"{unknown[0][:200]!r} has not drifted"}])
    settled: dict[str, str | None] = {}
    for path, drift in open_files.items():
        if path in resolved:
            settled[path] = resolved[path]
        elif body.merge and drift.merged and not drift.merged.conflicts:
            settled[path] = drift.merged.text
    if left := [drift.told() for path, drift in open_files.items() if path not in settled]:
        raise ProjectDrift(_sentence(left), project_id=str(project_id), snapshot=plan.head, files=left)
    return Plan(project_id, plan.head, {**plan.files, **settled}, tuple(settled))


def _sentence(left: list[dict[str, Any]]) -> str:
    named = ", ".join(each["path"] for each in left[:NAMED_MAX]) + (", …" if len(left) > NAMED_MAX else "")
    clean = all(each["conflicts"] == 0 for each in left)
    cure = "Accept the merge (`merge`)" if clean else "Say what they shall be (`resolution`)"
    return f"Changed since the task began with them: {named}. {cure}, or start a task with what is there now."


def _changes(task: TaskRow) -> list[Change]:
    given = {each["path"]: each["content"] for each in task.input["files"]}
    listed = (task.result or {}).get("files_modified") or []
    try:
        read = [parse_diff(each["patch"]) for each in listed]
        if not all(read):
            raise ValueError("a patch has no changes in it")
        edits = [edit for each in read for edit in each]
        found = [plain for edit in edits for plain in _plain(apply(against(edit, given), given))]
        for each in found:
            check_path(each.path)
    except (EditError, ValueError) as error:
        raise Invalid(f"The result can't be taken over: {error}.") from error
    return found


def _plain(change: Change) -> list[Change]:
    """Return a change without its rename: the old file goes, the new one comes."""
    if change.renamed_from is None:
        return [change]
    return [Change(change.renamed_from, change.before, None), Change(change.path, None, change.after)]


@dataclass(frozen=True, slots=True)
class Drift:
    """A file that the task and others changed; `current` is None where it is gone, is no text or is too long."""

    change: Change
    there: bool
    current: str | None
    merged: Merged | None

    def told(self) -> dict[str, Any]:
        """Return both sides, and the merge where there is one, in the shape docs/editors.md gives."""
        return {
            "path": self.change.path,
            "state": "changed" if self.there else "removed",
            "base": self.change.before,
            "project": self.current,
            "task": self.change.after,
            "merged": self.merged.text if self.merged else None,
            "conflicts": self.merged.conflicts if self.merged else None,
        }


def _look(
    scope: AccountScope, task: TaskRow, project_id: UUID, changes: Mapping[str, Change]
) -> tuple[Plan, dict[str, Drift]]:
    """Compare with the newest snapshot: return what can be saved as it is, and what has drifted."""
    began = task.input.get("snapshot")

    def read(connection: Any) -> tuple[int, dict[str, Entry], dict[str, Entry], set[str]]:
        head = projects.get(connection, scope, project_id).head
        there, then = (
            {each.path: each for each in projects.tree(connection, scope, project_id, number) if each.path in changes}
            for number in (head, began or 0)
        )
        absent = [path for path in changes if path not in there]
        return head, there, then, projects.ever_had(connection, scope, project_id, absent)

    head, there, then, gone = services().database.read(read)
    effort = Effort()
    files: dict[str, str | None] = {}
    drifted: dict[str, Drift] = {}
    for path, each in changes.items():
        current = there[path].sha256 if path in there else None
        known = {_hash(each.before)} | ({then[path].sha256 if path in then else None} if began else set())
        if current == _hash(each.after):
            continue
        if current in known or (current is None and path not in gone):
            files[path] = each.after
        else:
            drifted[path] = _drift(each, there.get(path), effort)
    return Plan(project_id, head, files), drifted


def _hash(text: str | None) -> str | None:
    return None if text is None else sha256(text.encode()).hexdigest()


def _drift(change: Change, entry: Entry | None, effort: Effort) -> Drift:
    current = _text(entry) if entry else None
    merged = None
    if change.before is not None and change.after is not None and current is not None:
        merged = beside(merge, change.before, current, change.after, ("project", "task"), effort)
    return Drift(change, entry is not None, current, merged)


def _text(entry: Entry) -> str | None:
    if entry.size > COMPARED_MAX:
        return None
    with services().blobs.open(entry.sha256, entry.size) as file:
        raw = file.read()
    return raw.decode() if looks_like_text(raw) else None


def _carry_out(scope: AccountScope, task: TaskRow, plan: Plan, body: Accept) -> Asked:
    with ExitStack() as held:
        kept = {path: _received(held, text) for path, text in plan.files.items() if text is not None}
        new = {path: Entry(path, each.sha256, each.size) for path, each in kept.items()}

        def record(connection: Any) -> Asked:
            effect = partial(_saved, connection, scope, task.id, plan, new, body)
            return requests.decide(connection, scope, task.id, "accepted", body.comment, effect)

        return services().keeper.keep(scope, list(kept.values()), record)


def _received(held: ExitStack, text: str) -> Received:
    incoming = held.enter_context(receiving(services().blobs, services().settings.file_max_bytes))
    incoming.write(text.encode())
    return incoming.received()


def _saved(
    connection: Any, scope: AccountScope, task_id: UUID, plan: Plan, new: Mapping[str, Entry], body: Accept
) -> dict[str, Any]:
    """Save the next snapshot; return what the decision says of it."""
    number, project_id = plan.head, plan.project_id
    if plan.files:
        left = _others(connection, scope, plan)
        tree = checked([*left, *new.values()])
        message = body.comment or f"Accepted from task {task_id}"
        row, _ = projects.save(connection, scope, project_id, tree, message=message, task_id=task_id)
        number = row.number
    about = {"project_id": str(project_id), "snapshot": number or None}
    return {**about, "files": sorted(plan.files), "merged": list(plan.merged)}


def _others(connection: Any, scope: AccountScope, plan: Plan) -> list[Entry]:
    """Lock the project and return its newest files but for those of the plan.

    Raises:
        _SavedMeanwhileError: somebody saved one of those since the plan was made.
    """
    head = projects.lock(connection, scope, plan.project_id).head
    there = projects.tree(connection, scope, plan.project_id, head)
    if head != plan.head:
        planned = projects.tree(connection, scope, plan.project_id, plan.head)
        if _of_plan(planned, plan) != _of_plan(there, plan):
            raise _SavedMeanwhileError
    return [each for each in there if each.path not in plan.files]


def _of_plan(tree: list[Entry], plan: Plan) -> list[Entry]:
    return [each for each in tree if each.path in plan.files]
