"""Secrets are masked wherever they are, and ordinary text is left alone."""

import json
import time
from typing import Any

import pytest

from worker.tools.redact import MASK, redact

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefghijklmnopqrstuvwx",
        "sk-ant-" + "a1B2" * 6,
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "github_pat_abcdefghijklmnopqrstuv",
        "glpat-abcdefghijklmnop",
        "xoxb-1234567890-abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234",
        "sk_live_abcdefghijkl",
        JWT,
        KEY,
    ],
)
def test_what_has_the_shape_of_a_secret_is_masked(secret: str) -> None:
    masked = redact({"a": [f"before {secret} after"]})["a"][0]
    assert masked == f"before {MASK} after"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc123def456ghi", "abc123def456ghi"),
        ("authorization: basic dXNlcjpwYXNz1234", "dXNlcjpwYXNz1234"),
        ("password=hunter22&user=me", "hunter22"),
        ('{"api_key": "abcdefgh"}', "abcdefgh"),
        ("DB_PASSWORD: correct-horse", "correct-horse"),
        ("client_secret = 'qwertyuiop'", "qwertyuiop"),
        ("postgres://me:letmein@db/app", "letmein"),
        ("https://x/?access_token=abcdef123", "abcdef123"),
    ],
)
def test_what_is_named_a_secret_is_masked_and_the_rest_stays(text: str, secret: str) -> None:
    masked = redact(text)
    assert secret not in masked
    assert masked.startswith(text[: text.index(secret)])


@pytest.mark.parametrize("name", ["authorization", "Cookie", "X-API-Key", "password", "client_secret", "access_token"])
def test_what_stands_under_a_telling_name_is_masked(name: str) -> None:
    assert redact({"headers": {name: "anything at all"}}) == {"headers": {name: MASK}}


@pytest.mark.parametrize(
    "value",
    [
        "a basic understanding of bearer bonds and passwords",
        "the secret of success",
        "https://example.com/a:b@c",
        {"next_page_token": "CAUQAA", "max_tokens": 100, "tokens": ["a", "b"], "token_count": 5},
        {"password": ""},
        "task-force, risk-averse, disk-abcdefghijklmnop",
        [1, None, True, 2.5],
    ],
)
def test_ordinary_text_is_left_alone(value: Any) -> None:
    assert redact(value) == value


def test_known_secrets_are_masked_wherever_they_occur() -> None:
    assert redact({"a": "x tr0ub4dor y", "tr0ub4dor": 1}, ["tr0ub4dor"]) == {"a": f"x {MASK} y", MASK: 1}


@pytest.mark.parametrize(
    "text",
    ["a-" * 50_000, "password" * 12_000, "-----BEGIN PRIVATE KEY-----" * 4_000, "bearer " * 15_000,
     "eyJ" + "a" * 99_000, "a://" * 25_000, "x:" * 50_000, "api_key:" * 12_000, "sk-" * 33_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_the_work_grows_with_the_text_and_not_with_its_square(text: str) -> None:
    quarter = min(cpu_of(text[: len(text) // 4]) for _ in range(3))
    assert cpu_of(text) < 8 * quarter + 0.05, "four times the text took sixteen times the work"


def cpu_of(text: str) -> float:
    since = time.process_time()
    redact(text)
    return time.process_time() - since


def test_the_masked_value_is_still_json() -> None:
    assert json.loads(json.dumps(redact({"a": (1, 2), "b": {"c": KEY}}))) == {"a": [1, 2], "b": {"c": MASK}}
