"""One HTTP connection pool: keys, retries, and answers turned into values or typed errors."""

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import httpx

from umbel_client._version import __version__
from umbel_client.backoff import Backoff, retry_after_s
from umbel_client.config import Settings
from umbel_client.errors import ApiError, ConnectionFailed, UmbelError, UnexpectedAnswer, api_error

USER_AGENT = f"umbel-client/{__version__}"
RETRIED_STATUSES = frozenset({429, 502, 503, 504})
ATTEMPTS = 4
LONGEST_PAUSE_S = 20.0


class Http:
    """Calls the server of `settings`; `timeout_s` bounds each connect, read and write."""

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self.settings = settings
        self.timeout_s = timeout_s
        self._client = httpx.Client(
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            timeout=timeout_s,
            verify=_certificates(settings),
            # The local stack is never behind a proxy, and its key must not travel through one.
            trust_env=not settings.loopback,
        )

    @property
    def authorization(self) -> Mapping[str, str]:
        """The header that shows the key."""
        return {"Authorization": f"Bearer {self.settings.api_key}"}

    def close(self) -> None:
        """Close the pool."""
        self._client.close()

    def get(self, path: str, *, params: Mapping[str, Any] | None = None, wait_s: float = 0) -> dict[str, Any]:
        """GET, retried. `wait_s` is how long the server may take on purpose."""
        return self._retried("GET", path, params=_present(params), timeout=self.timeout_s + wait_s)

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, key: str | None = None) -> dict[str, Any]:
        """POST; retried only with an idempotency key, since only then a repetition is harmless."""
        if key is None:
            return self._once("POST", path, json=body)
        return self._retried("POST", path, json=body, headers={"Idempotency-Key": key})

    def pages(self, path: str, name: str, page_size: int) -> Iterator[dict[str, Any]]:
        """The items `name` of a list, page by page as they are needed: `next` of one is `after` of the following."""
        after: Any = None
        while True:
            answer = self.get(path, params={"after": after, "limit": page_size})
            yield from answer[name]
            after = answer.get("next")
            if after is None:
                return

    def put(self, path: str, body: Mapping[str, Any], *, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """PUT; retried unless it is on a condition, which an earlier try may have made untrue."""
        present = _present(params)
        send = self._once if present else self._retried
        return send("PUT", path, json=body, params=present)

    def delete(self, path: str) -> None:
        """DELETE once; nothing is ever deleted twice."""
        response = self._send("DELETE", path)
        if not response.is_success:
            _refuse(response)

    def upload(self, path: str, files: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
        """POST a multipart body, once; files are read as they are sent."""
        return self._once("POST", path, files=files, data=fields)

    def download(self, path: str, to: Path) -> int:
        """GET bytes into a file, which is replaced once they are all there; return their number."""
        draft = to.with_name(f".{to.name}.{os.getpid()}")
        try:
            with draft.open("wb") as file:
                size = self._stream(path, file)
            draft.replace(to)
        finally:
            draft.unlink(missing_ok=True)
        return size

    def _stream(self, path: str, file: BinaryIO) -> int:
        try:
            with self._client.stream("GET", self.settings.url + path, headers=self.authorization) as response:
                if not response.is_success:
                    response.read()
                    _refuse(response)
                return sum(file.write(piece) for piece in response.iter_bytes())
        except httpx.RequestError as error:
            raise ConnectionFailed(f"The download from {self.settings.url} broke ({reason(error)}).") from error

    def probe(self, path: str) -> dict[str, Any]:
        """GET once without retries; an answer of 503 with a JSON body is an answer too."""
        response = self._send("GET", path)
        if response.status_code not in (200, 503):
            _refuse(response)
        return _body(response)

    def _retried(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        backoff = Backoff(base_s=0.2, cap_s=LONGEST_PAUSE_S, attempts=ATTEMPTS)
        while True:
            try:
                return self._once(method, path, **options)
            except UmbelError as error:
                if not _worth_retrying(error):
                    raise
                backoff.pause(error)

    def _once(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._send(method, path, **options)
        if not response.is_success:
            _refuse(response)
        return _body(response)

    def _send(self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> httpx.Response:
        url = self.settings.url + path
        try:
            return self._client.request(method, url, headers={**self.authorization, **(headers or {})}, **options)
        except httpx.RequestError as error:
            raise ConnectionFailed(
                f"No answer from {self.settings.url} ({reason(error)}). "
                "Start the server with `make run`, or check UMBEL_URL."
            ) from error


def _certificates(settings: Settings) -> ssl.SSLContext | bool:
    """What to trust. Loading the certificate store takes longer than all else here; plain HTTP to itself needs none."""
    if settings.loopback and settings.url.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return True


def reason(error: BaseException) -> str:
    """One line about a lower error."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def problem_of(status: int, content: bytes) -> dict[str, Any]:
    """The problem document in a refusing answer, or one made up when something in between answered."""
    try:
        problem = httpx.Response(status, content=content).json()
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"detail": f"HTTP {status} without an explanation."}


def _refuse(response: httpx.Response) -> NoReturn:
    if response.is_redirect:
        raise UnexpectedAnswer(f"The server redirects to {response.headers.get('Location')}; set UMBEL_URL to that.")
    problem = problem_of(response.status_code, response.content)
    raise api_error(response.status_code, problem, retry_after_s=retry_after_s(response.headers.get("Retry-After")))


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise UnexpectedAnswer(f"{response.url} answered something that is not Umbel's. Check UMBEL_URL.")
    return body


def _worth_retrying(error: UmbelError) -> bool:
    return isinstance(error, ConnectionFailed) or (isinstance(error, ApiError) and error.status in RETRIED_STATUSES)


def _present(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (values or {}).items() if value is not None}
