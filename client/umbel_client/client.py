"""The client itself."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from umbel_client.backoff import Backoff
from umbel_client.config import load_settings
from umbel_client.declared import Declarations
from umbel_client.errors import WaitTimedOut
from umbel_client.files import Artifacts, Files
from umbel_client.http import Http
from umbel_client.models import Frame, Task
from umbel_client.patterns import Patterns
from umbel_client.projects import Projects
from umbel_client.questions import Approval, decide_path, reply
from umbel_client.reports import Readiness, Why, Workflow
from umbel_client.sessions import Sessions
from umbel_client.sockets import ping
from umbel_client.tools import Tools
from umbel_client.watching import PATIENCE_S, TRANSIENT, Interruption, Watcher, task_path

LONGEST_POLL_S = 30.0


class Umbel(Declarations):
    """A connection to an Umbel server, for use in a `with` block.

    `url` and `api_key` default to UMBEL_URL and UMBEL_API_KEY from the environment, else from `.umbel/client.env` here
    or above. `timeout` is in seconds, for each connect, read and write. Raises ConfigurationError when no server is
    known. `files` are the account's, `artifacts` what tasks made. Every method raises ConnectionFailed or an ApiError;
    reads and keyed submits are retried first.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        timeout: float = 10.0,
        *,
        env_file: Path | None = None,
    ) -> None:
        self.settings = load_settings(url, api_key, env_file)
        self._http = Http(self.settings, timeout)
        self.sessions = Sessions(self._http)
        #: Tools of agents: list, get, put, remove, import_openapi.
        self.tools = Tools(self._http)
        #: What finished runs taught: list, get, search, retrieve, stats, edit, pin, move, roll_back.
        self.patterns = Patterns(self._http)
        self.files = Files(self._http)
        self.artifacts = Artifacts(self._http)
        #: Trees of files with a history: begin, list, show, save, history, paths, get, delete.
        self.projects = Projects(self._http)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection pool."""
        self._http.close()

    def submit(
        self,
        workflow: str,
        input: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
        priority: int | None = None,
        run_after: datetime | str | None = None,
        deadline: datetime | str | None = None,
        max_attempts: int | None = None,
        concurrency_key: str | None = None,
        concurrency_limit: int | None = None,
    ) -> Task:
        """Hand in a task. The same `idempotency_key` and body give the same task again.

        Without a key one is made up, so that a retry of this call never submits twice. `priority` is 0-9, higher
        first. Datetimes must know their zone. Raises Invalid naming the field the server cannot accept.
        """
        body = {
            "workflow": workflow,
            "input": input,
            "tags": [*tags] or None,
            "metadata": metadata or None,
            "priority": priority,
            "run_after": _timestamp(run_after),
            "deadline": _timestamp(deadline),
            "max_attempts": max_attempts,
            "concurrency_key": concurrency_key,
            "concurrency_limit": concurrency_limit,
        }
        present = {name: value for name, value in body.items() if value is not None}
        return Task.of(self._http.post("/v1/tasks", present, key=idempotency_key or str(uuid4())))

    def get(self, task_id: str, wait: float | None = None) -> Task:
        """The task now, or after up to `wait` seconds (at most 30), earlier if it ends."""
        params = {"wait": None if wait is None else f"{max(0.0, min(wait, LONGEST_POLL_S)):g}"}
        return Task.of(self._http.get(task_path(task_id), params=params, wait_s=wait or 0))

    def wait(self, task_id: str, timeout: float | None = None) -> Task:
        """Wait until the task has ended, at most `timeout` seconds; raises WaitTimedOut after that."""
        deadline = None if timeout is None else time.monotonic() + timeout
        backoff = Backoff(base_s=0.5, cap_s=10, patience_s=PATIENCE_S)
        while True:
            remaining = LONGEST_POLL_S if deadline is None else deadline - time.monotonic()
            asked = time.monotonic()
            try:
                task = self.get(task_id, wait=max(0.0, min(LONGEST_POLL_S, remaining)))
            except TRANSIENT as error:
                backoff.pause(error)
                continue
            if task.finished:
                return task
            if remaining <= 0:
                raise WaitTimedOut(f"Task {task_id} is still {task.status} after {timeout:g} s; it goes on.")
            backoff.reset()
            if time.monotonic() - asked < min(1.0, remaining):
                time.sleep(0.2)  # a server that answers at once must not be asked in a tight loop

    def list(
        self,
        *,
        status: str | None = None,
        workflow: str | None = None,
        tag: str | None = None,
        parent: str | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        limit: int | None = None,
        page_size: int = 100,
    ) -> Iterator[Task]:
        """The account's tasks, newest first, at most `limit`; pages are fetched as they are needed.

        `status` may name several, separated by commas; `parent` is the task that started them. An input or
        result over 64 KiB is only referred to here.
        """
        params: dict[str, Any] = {
            "status": status,
            "workflow": workflow,
            "tag": tag,
            "parent": parent,
            "created_after": _timestamp(created_after),
            "created_before": _timestamp(created_before),
        }
        left = limit
        while left is None or left > 0:
            params["limit"] = page_size if left is None else min(page_size, left)
            answer = self._http.get("/v1/tasks", params=params)
            yield from map(Task.of, answer["tasks"])
            left = None if left is None else left - len(answer["tasks"])
            params["cursor"] = answer.get("next_cursor")
            if not params["cursor"]:
                return

    def cancel(self, task_id: str) -> Task:
        """Ask the task to stop; `task.run.cancel` tells how far that has come. Raises Conflict when it has ended."""
        return self._ask(task_id, "cancel")

    def pause(self, task_id: str) -> Task:
        """Let the task rest at its next step boundary. Raises Conflict when its state forbids it."""
        return self._ask(task_id, "pause")

    def resume(self, task_id: str, decision: str | None = None) -> Task:
        """Let a paused task go on. Raises Conflict when it is not paused.

        A task that waits `in_doubt` needs a `decision` on the step that may have happened: repeat, skip or fail.
        """
        return self._ask(task_id, "resume", decision=decision)

    def retry(self, task_id: str) -> Task:
        """Run a failed or dead task again; finished steps are not repeated. Raises Conflict in any other state."""
        return self._ask(task_id, "retry")

    def accept(
        self,
        task_id: str,
        comment: str | None = None,
        *,
        merge: bool = False,
        resolution: Mapping[str, str | None] | None = None,
        snapshot: int | None = None,
    ) -> Task:
        """Record that the result was taken; if its task names a project, its changes are saved there.

        Raises Conflict when there is no result or it was decided otherwise; with the code `project_drift` when others
        changed the same files: `problem["files"]` has both sides and a merge. `merge` takes it where it is clean,
        `resolution` says what each file shall be (None: not there), `snapshot` which one it was made on.
        """
        files = [{"path": path, "content": content} for path, content in (resolution or {}).items()]
        return self._ask(
            task_id, "accept", comment=comment, merge=merge or None, resolution=files or None, snapshot=snapshot
        )

    def reject(self, task_id: str, comment: str | None = None) -> Task:
        """Record that the result was turned down. Raises Conflict when there is none or it was decided otherwise."""
        return self._ask(task_id, "reject", comment=comment)

    def steer(self, task_id: str, text: str, *, idempotency_key: str | None = None) -> Mapping[str, Any]:
        """Tell the agent something while it works; it hears of it before its model's next call.

        Returns the message as recorded: `number`, `text`, `created_at`. Without an `idempotency_key` one is made up, so
        that a retry of this call says nothing twice. Raises Conflict when the task has ended or takes no messages.
        """
        key = idempotency_key or str(uuid4())
        return self._http.post(f"{task_path(task_id)}/messages", {"text": text}, key=key)

    def messages(self, task_id: str, *, page_size: int = 100) -> Iterator[Mapping[str, Any]]:
        """What was said to the task while it worked, in order; `step` tells which step took a message, if any has."""
        yield from self._http.pages(f"{task_path(task_id)}/messages", "messages", page_size)

    def approvals(self, task_id: str | None = None, *, limit: int = 200) -> Sequence[Approval]:
        """What waits for a person's word, the longest waiting first; of one task, or of all."""
        answer = self._http.get("/v1/approvals", params={"task_id": task_id, "limit": limit})
        return tuple(map(Approval.of, answer["approvals"]))

    def decide(
        self,
        approval: Approval,
        verdict: str,
        *,
        args: Mapping[str, Any] | None = None,
        comment: str | None = None,
    ) -> Task:
        """Answer a question with one of its `allowed`; `args` are the arguments to use instead, for edit, or the
        answer; without them `comment` is the answer's text.

        Raises Conflict when it was answered otherwise, has run out, or is about other arguments by now; Invalid when
        edited arguments do not fit.
        """
        return Task.of(self._http.post(decide_path(approval), reply(approval, verdict, args, comment)))

    def why(self, task_id: str) -> Why:
        """Why the task is where it is."""
        return Why.of(self._http.get(f"{task_path(task_id)}/why"))

    def events(self, task_id: str, after: int = 0, *, page_size: int = 500) -> Iterator[Frame]:
        """The durable events after number `after` that exist now, in order."""
        while True:
            params = {"after": after, "limit": page_size}
            answer = self._http.get(f"{task_path(task_id)}/events", params=params)
            frames = [Frame.of(raw) for raw in answer["events"]]
            yield from frames
            newest = max((frame.seq or 0 for frame in frames), default=after)
            if newest <= after or newest >= int(answer.get("last_seq") or 0):
                return
            after = newest

    def watch(
        self, task_id: str, after: int = 0, *, on_interruption: Callable[[Interruption], None] | None = None
    ) -> Iterator[Frame]:
        """Follow the task live until it has ended, resuming by itself after any lost connection.

        Yields every durable event after number `after` once and in order, and text deltas between them (see
        TextAssembler). `on_interruption` hears of each lost connection before the pause. Raises Unauthorized,
        NotFound, or ConnectionFailed when the server stays away.
        """
        return Watcher(self._http, task_id, after, on_interruption).frames()

    def usage(self, *, since: str | None = None, until: str | None = None) -> dict[str, Any]:
        """What tasks submitted in this time used: `total` and `workflows`, with tokens, calls and `usd` as text."""
        return self._http.get("/v1/usage", params={"since": since, "until": until})

    def indexes(self) -> Sequence[dict[str, Any]]:
        """How the indexes of patterns stand; the key needs the scope `operations`."""
        return tuple(self._http.get("/v1/indexes")["indexes"])

    def pattern_graph(self, pattern_id: str, *, depth: int = 2) -> dict[str, Any]:
        """What is near a pattern in the graph: `nodes`, `edges`, and `cut` where there was more."""
        return self._http.get(f"/v1/patterns/{pattern_id}/graph", params={"depth": depth})

    def draw_pattern(self, pattern_id: str, to: Path, *, depth: int = 2) -> int:
        """Write the same as an SVG picture into a file; returns its bytes."""
        return self._http.download(f"/v1/patterns/{pattern_id}/graph.svg?depth={depth}", to)

    def build_index(self, index: str) -> dict[str, Any]:
        """Have an index, `vectors` or `graph`, built anew from the record; returns the build that is open."""
        return self._http.post(f"/v1/indexes/{index}/build")

    def workflows(self) -> Sequence[Workflow]:
        """What the server can do."""
        return tuple(map(Workflow.of, self._http.get("/v1/workflows")["workflows"]))

    def ready(self) -> Readiness:
        """What the server needs and how each of it is; also answers when the server is degraded or down inside."""
        return Readiness.of(self._http.probe("/readyz"))

    def alive(self) -> None:
        """Return when the server answers at all; raises ConnectionFailed or UnexpectedAnswer."""
        self._http.probe("/healthz")

    def ping(self) -> float:
        """Seconds one message takes over a WebSocket and back; raises ConnectionFailed when none can be opened."""
        return ping(self._http)

    def _ask(self, task_id: str, action: str, **fields: Any) -> Task:
        body = {name: value for name, value in fields.items() if value is not None}
        return Task.of(self._http.post(f"{task_path(task_id)}/{action}", body or None))


def _timestamp(value: datetime | str | None) -> str | None:
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ValueError("A datetime for Umbel must know its zone, for example datetime.now(timezone.utc).")
    return value.isoformat()
