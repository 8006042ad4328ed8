"""JSON that PostgreSQL can hold, and JSON it can't."""

import pytest

from config.logging import mask
from models.errors import Malformed
from models.payloads import dumps


@pytest.mark.parametrize("value", ["a\x00b", {"k": ["\ud800"]}, {"a\x00": 1}])
def test_text_postgresql_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(Malformed):
        dumps(value)


@pytest.mark.parametrize("value", ["\\u0000", "\\\\u0000", "\\", {"path": "c:\\u0000\\x"}, "ä\u2028😀"])
def test_text_that_only_looks_like_it_is_kept(value: object) -> None:
    assert dumps(value)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer umb_abcdefghijkl_" + "x" * 43,
        "postgresql://umbel:hunter2x@127.0.0.1/umbel",
        "redis://:hunter2x@127.0.0.1:6379/0",
        "key umb_abcdefghijkl_" + "hunter2x" * 6,
    ],
)
def test_secrets_are_masked_in_logs(text: str) -> None:
    masked = mask(text)
    assert "hunter2x" not in masked
    assert "x" * 43 not in masked
