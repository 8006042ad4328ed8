"""blobs: bytes put into the store of files and read back, beside plain files.

Both put durably: written beside, flushed, renamed, and the directory flushed. The store also hashes what it takes,
which is what finds equal bytes; those are put a second time, too, as a re-upload would, and plain files hashed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.__main__ import Plan
from bench.report import Report
from models.blobs import BlobStore, Received, receiving
from models.blobs.disk import DiskStore

OURS, PLAIN, AGAIN = "blob store", "plain files", "blob store, equal bytes"
HASHED = "plain files, hashed"
SIZES = {"4 KiB": 4096, "1 MiB": 1024 * 1024}
COUNTS = {"4 KiB": 200, "1 MiB": 40}
PIECE = 64 * 1024
PUT_OVER_PLAIN, GET_OVER_PLAIN = 1.5, 1.5


def run(plan: Plan) -> Report:
    """Measure both, one after the other, in every round."""
    report = Report("blobs", "bytes put durably and read back, one thread")
    for number in range(plan.rounds):
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as place:
            _round(report, plan, Path(place))
        plan.say(f"blobs: round {number + 1}: {report.rounds[OURS][-1]}")
    for size in SIZES:
        report.goal(f"put of {size}, of plain files", report.ratio(OURS, PLAIN, f"put {size} ms"), "<=", PUT_OVER_PLAIN)
        report.goal(f"get of {size}, of plain files", report.ratio(OURS, PLAIN, f"get {size} ms"), "<=", GET_OVER_PLAIN)
    return report


def _round(report: Report, plan: Plan, place: Path) -> None:
    store, plain = DiskStore(place / "blobs"), place / "plain"
    plain.mkdir()
    for shard in range(256):  # made once in a store's life
        (place / "blobs" / f"{shard:02x}").mkdir(parents=True)
    figures: dict[str, dict[str, float]] = {OURS: {}, PLAIN: {}, HASHED: {}, AGAIN: {}}
    for size, length in SIZES.items():
        contents = [os.urandom(length) for _ in range(plan.size(COUNTS[size], 3))]
        kept: list[Received] = []
        paths = [plain / f"{size}-{number}" for number in range(len(contents))]
        name = f"put {size} ms"
        figures[PLAIN][name] = _each(zip(paths, contents, strict=True), _put_plain)
        figures[HASHED][name] = _each(zip(paths, contents, strict=True), _put_hashed)
        figures[OURS][name] = _each(((store, kept, content) for content in contents), _put)
        figures[AGAIN][name] = _each(((store, [], content) for content in contents), _put)
        name = f"get {size} ms"
        figures[PLAIN][name] = _each(((path,) for path in paths), Path.read_bytes)
        figures[OURS][name] = _each(((store, received) for received in kept), _get)
    for contender, found in figures.items():
        report.add(contender, found)


def _each(arguments: Iterable[tuple[Any, ...]], work: Callable[..., object]) -> float:
    given = list(arguments)
    began = time.perf_counter()
    for each in given:
        work(*each)
    return (time.perf_counter() - began) / len(given) * 1000


def _put(store: BlobStore, kept: list[Received], content: bytes) -> None:
    with receiving(store, len(content)) as incoming:
        for start in range(0, len(content), PIECE):
            incoming.write(content[start : start + PIECE])
        received = incoming.received()
        store.put(received)
    kept.append(received)


def _get(store: BlobStore, received: Received) -> bytes:
    with store.open(received.sha256, received.size) as file:
        return file.read()


def _put_hashed(path: Path, content: bytes) -> str:
    found = hashlib.sha256()
    for start in range(0, len(content), PIECE):
        found.update(content[start : start + PIECE])
    _put_plain(path.with_name(f"{path.name}-hashed"), content)
    return found.hexdigest()


def _put_plain(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        for start in range(0, len(content), PIECE):
            file.write(content[start : start + PIECE])
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
