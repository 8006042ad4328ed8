"""What finished runs taught: patterns of the account, what speaks for them, and what they are worth."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from umbel_client.http import Http

PATTERNS = "/v1/patterns"


class Patterns:
    """What `Umbel.patterns` gives; patterns are as the server's JSON has them. Methods raise as the client's do."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(
        self, *, state: str | None = None, kind: str | None = None, agent: str | None = None, page_size: int = 100
    ) -> Iterator[dict[str, Any]]:
        """All patterns, the newest first."""
        only = {"state": state, "kind": kind, "agent": agent}
        cursor: str | None = None
        while True:
            page = self._http.get(PATTERNS, params={**only, "limit": page_size, "cursor": cursor})
            yield from page["patterns"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def get(self, pattern_id: str) -> dict[str, Any]:
        """One pattern with its evidence, credit and history."""
        return self._http.get(_path(pattern_id))

    def search(self, text: str, *, limit: int = 12) -> Sequence[dict[str, Any]]:
        """Active patterns that have words of a text."""
        return tuple(self._http.get(f"{PATTERNS}/search", params={"text": text, "limit": limit})["patterns"])

    def retrieve(self, text: str, **asked: Any) -> dict[str, Any]:
        """What is known for a request, by likeness: `patterns`, `passages`, `block`, and how.

        How it was found: `found_by`, `embedder`, `sources`, `degraded`. `of=["messages", "artifacts"]` looks among what
        was said in sessions, and made.
        """
        return self._http.post("/v1/rag/retrieve", {"text": text, **asked})

    def stats(self, *, since: str | None = None, agent: str | None = None) -> dict[str, Any]:
        """What patterns are worth, beside runs they were withheld from."""
        return self._http.get(f"{PATTERNS}/stats", params={"since": since, "agent": agent})

    def edit(self, pattern_id: str, content: dict[str, Any], *, version: int | None = None) -> dict[str, Any]:
        """Give a pattern a new version: `title`, `situation`, `steps`; only if it is at `version`."""
        return self._http.put(_path(pattern_id), content, params={"version": version})

    def pin(self, pattern_id: str, pinned: bool = True) -> dict[str, Any]:
        """Let measurements leave a pattern alone, or no longer."""
        return self._http.post(f"{_path(pattern_id)}/pin", {"pinned": pinned})

    def move(self, pattern_id: str, action: str, reason: str = "") -> dict[str, Any]:
        """`activate`, `quarantine` or `retire` a pattern."""
        return self._http.post(f"{_path(pattern_id)}/{action}", {"reason": reason})

    def roll_back(self, pattern_id: str, version: int) -> dict[str, Any]:
        """Give a pattern the content it had, as a new version."""
        return self._http.post(f"{_path(pattern_id)}/rollback", {"version": version})


def _path(pattern_id: str) -> str:
    return f"{PATTERNS}/{quote(pattern_id, safe='')}"
