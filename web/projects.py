"""Saving snapshots and telling them apart."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

from models.blobs import Received, receiving
from models.errors import NotFound
from models.media import looks_like_text
from models.repositories import files, holdings, projects
from models.repositories.projects import Entry, SnapshotRow
from models.scope import AccountScope
from web.errors import Invalid
from web.schemas.projects import FILES_MAX, SavedFile, SaveSnapshot
from web.services import services
from worker.code import unified_diff

#: Bytes of one file that is compared, and pairs of lines compared in one answer: comparing may cost their product.
COMPARED_MAX = 256 * 1024
PAIRS_MAX = 4_000_000


def save(scope: AccountScope, project_id: UUID, body: SaveSnapshot) -> tuple[SnapshotRow, bool]:
    """Keep what was sent and add the snapshot; return it and whether it is new.

    Raises:
        NotFound: the account has no such project.
        Conflict: somebody saved since `base`.
        Invalid: a file is referred to that is not there, or paths contradict each other.
    """
    keeper, database = services().keeper, services().database
    head = database.read(lambda connection: projects.get(connection, scope, project_id)).head
    with ExitStack() as held:
        sent = {each.path: received for each in body.files if (received := _received(held, each)) is not None}
        given = [Entry(path, got.sha256, got.size) for path, got in sent.items()]
        referred = [each for each in body.files if each.path not in sent]
        given += database.read(lambda connection: list(_referred(connection, scope, referred)))
        base = body.base if body.whole else head if body.base is None else body.base

        def refer(connection: Any) -> tuple[SnapshotRow, bool]:
            kept = {} if body.whole else _kept(connection, scope, project_id, head, body.delete)
            tree = checked([*(kept | {each.path: each for each in given}).values()])
            return projects.save(connection, scope, project_id, tree, message=body.message, base=base)

        return keeper.keep(scope, list(sent.values()), refer)


def _received(held: ExitStack, given: SavedFile) -> Received | None:
    raw = given.raw()
    if raw is None:
        return None
    incoming = held.enter_context(receiving(services().blobs, services().settings.file_max_bytes))
    incoming.write(raw)
    return incoming.received()


def _referred(connection: Any, scope: AccountScope, given: list[SavedFile]) -> Iterator[Entry]:
    for each in given:
        try:
            if each.file_id is not None:
                file = files.get(connection, scope, each.file_id)
                yield Entry(each.path, file.sha256, file.size)
            else:
                yield Entry(each.path, *holdings.held(connection, scope, each.sha256 or ""))
        except NotFound:
            raise Invalid(fields=[{"field": f"files[{each.path}]", "message": "There are no such bytes"}]) from None


def _kept(connection: Any, scope: AccountScope, project_id: UUID, head: int, delete: list[str]) -> dict[str, Entry]:
    there = {each.path: each for each in projects.tree(connection, scope, project_id, head)}
    if unknown := sorted(set(delete) - set(there)):
        raise Invalid(fields=[{"field": "delete", "message": f"There is no file {unknown[0][:200]!r}"}])
    return {path: each for path, each in there.items() if path not in delete}


def checked(tree: list[Entry]) -> list[Entry]:
    """Return a tree that can lie on a disk.

    Raises:
        Invalid: a path is a file and a directory at once, or there are too many.
    """
    paths = {each.path for each in tree}
    for path in sorted(paths):
        parts = path.split("/")
        if clash := next((above for n in range(1, len(parts)) if (above := "/".join(parts[:n])) in paths), None):
            raise Invalid(fields=[{"field": "files", "message": f"{clash[:200]!r} is a file and a directory"}])
    if len(tree) > FILES_MAX:
        raise Invalid(fields=[{"field": "files", "message": "Too many files", "allowed": f"at most {FILES_MAX}"}])
    return tree


def compare(before: list[Entry], after: list[Entry]) -> list[dict[str, Any]]:
    """Return how two trees differ, in order of path."""
    old, new = ({each.path: each for each in tree} for tree in (before, after))
    paths = sorted(path for path in old.keys() | new.keys() if _hash(old, path) != _hash(new, path))
    budget = [PAIRS_MAX]
    return [_compared(path, old.get(path), new.get(path), budget) for path in paths]


def _hash(tree: dict[str, Entry], path: str) -> str | None:
    return tree[path].sha256 if path in tree else None


def _compared(path: str, old: Entry | None, new: Entry | None, budget: list[int]) -> dict[str, Any]:
    change = "added" if old is None else "removed" if new is None else "changed"
    about = {"path": path, "change": change, "patch": None}
    if max(each.size for each in (old, new) if each) > COMPARED_MAX:
        return about | {"omitted": "too_large"}
    before, after = _read(old), _read(new)
    if not (looks_like_text(before) and looks_like_text(after)):
        return about | {"omitted": "binary"}
    budget[0] -= before.count(b"\n") * after.count(b"\n")
    if budget[0] < 0:
        return about | {"omitted": "too_large"}
    sides = (None if old is None else before.decode(), None if new is None else after.decode())
    return about | {"patch": unified_diff(path, *sides)}


def _read(each: Entry | None) -> bytes:
    if each is None:
        return b""
    with services().blobs.open(each.sha256, each.size) as file:
        return file.read()
