"""Secrets known by value are masked in logs and in what tools give, whatever form they have there."""

import base64
import json
import logging
from collections.abc import Iterator
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from config import known
from config.logging import JsonFormatter
from config.settings import get_settings
from models.tasks import Effect
from worker.tools.base import Arguments, Tool, ToolCall, ToolError
from worker.tools.chain import carry_out
from worker.tools.redact import MASK, redact

WORD = 'quiet/"horse"+staple'
ENVIRONMENT = {
    "UMBEL_DATABASE_URL": "postgresql://umbel:record%2Fword@127.0.0.1:5432/umbel",
    "UMBEL_REDIS_URL": "redis://:push-word-9@127.0.0.1:6379/0",
    "UMBEL_KEY_PEPPER": "pepper-word-9",
    "OPENAI_API_KEY": "first-model-key, second-model-key",
    "UMBEL_PROVIDERS": json.dumps(
        [
            {
                "name": "house",
                "kind": "compatible",
                "base_url": "http://127.0.0.1:1",
                "keys": ["house-model-key", "short"],
            }
        ]
    ),
    "UMBEL_SEARCH_KEY": "search-word-9",
    "UMBEL_SECRET_KEYS": base64.b64encode(b"\xff\xfe" * 16).decode(),
}
SECRETS = ["record/word", "push-word-9", "pepper-word-9", "first-model-key", "second-model-key", "house-model-key"]
SECRETS += ["search-word-9", ENVIRONMENT["UMBEL_SECRET_KEYS"]]


@pytest.fixture(autouse=True)
def settings_read_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


def logged(**extra: object) -> str:
    record = logging.makeLogRecord({"name": "umbel", "msg": "said", "levelname": "INFO", **extra})
    return JsonFormatter().format(record)


class Nothing(Arguments):
    pass


async def said(gives: object, account: UUID | None = None) -> str:
    """What comes of a tool that gives something, or fails with it, as it would be recorded."""

    async def run(args: Nothing, call: ToolCall) -> object:
        if isinstance(gives, Exception):
            raise gives
        return gives

    tool = Tool("it", "For tests.", Nothing, Effect.PURE, run)
    call = ToolCall(tool, Nothing(), Effect.PURE, "key", allowed=frozenset({"it"}), account_id=account)
    try:
        return json.dumps((await carry_out(call)).as_json())
    except ToolError as error:
        return json.dumps(error.as_result().as_json())


@pytest.mark.parametrize("secret", SECRETS)
async def test_the_settings_secrets_are_masked_in_results_errors_and_logs(secret: str) -> None:
    for shown in (
        await said(f"it prints {secret}!"),
        await said({"deep": [{"in": secret, secret: 1}]}),
        await said({"url": f"https://x.example/?a={quote(secret, safe='')}&b=1"}),
        await said(base64.b64encode(secret.encode()).decode()),
        await said(ToolError(f"no {secret}", place=[secret])),
        logged(words=["a", secret]),
    ):
        for form in known.forms(secret):
            assert form not in shown, shown
        assert MASK in shown or "***" in shown


async def test_short_words_and_the_rest_of_a_url_are_left_alone() -> None:
    assert await said("umbel is short, 127.0.0.1 and postgresql are no secrets") == json.dumps(
        {"kind": "text", "text": "umbel is short, 127.0.0.1 and postgresql are no secrets"}
    )


async def test_a_remembered_secret_is_masked_for_its_account_and_in_all_logs() -> None:
    mine, other = uuid4(), uuid4()
    known.remember(WORD, mine)
    for form in (WORD, quote(WORD, safe=""), json.dumps(WORD)[1:-1], base64.b64encode(WORD.encode()).decode()):
        assert form not in json.loads(await said(f"a {form} b", mine))["text"]
        assert form in json.loads(await said(f"a {form} b", other))["text"], "nobody finds out by trying words"
    assert json.dumps(WORD)[1:-1] not in logged(word=WORD)
    known.remember("short", mine)
    assert "short" in await said("short", mine)


def test_of_very_many_secrets_those_longest_unused_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "SECRETS_MAX", 2)
    account = uuid4()
    for word in ("first-word", "second-word", "first-word", "third-word"):
        known.remember(word, account)
    kept = known.known_to(account)
    assert {"first-word", "third-word"} <= set(kept)
    assert "second-word" not in kept


def test_one_secret_inside_another_leaves_nothing_of_either() -> None:
    assert redact("x abcdefgh-ijkl y abcdefgh", ["abcdefgh", "abcdefgh-ijkl"]) == f"x {MASK} y {MASK}"
