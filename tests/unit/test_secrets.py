"""Secrets kept in rows."""

import base64

import pytest
from pydantic import SecretStr

from models.errors import SecretsUnconfigured, SecretUnreadable
from models.secrets import SecretBox

OLD, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))


def box(*keys: str) -> SecretBox:
    return SecretBox(SecretStr(",".join(keys)))


def test_what_is_sealed_opens_and_shows_nothing_of_itself() -> None:
    sealed = box(OLD).seal("sk-änd a word")
    assert box(OLD).open(sealed).get_secret_value() == "sk-änd a word"
    assert "word" not in sealed
    assert sealed.isascii()
    assert box(OLD).seal("sk-änd a word") != sealed


def test_a_new_key_is_put_in_front_and_the_old_one_taken_away_later() -> None:
    sealed = box(OLD).seal("word")
    anew = box(NEW, OLD).sealed_anew(sealed)
    assert box(NEW).open(anew).get_secret_value() == "word"
    with pytest.raises(SecretUnreadable, match="UMBEL_SECRET_KEYS"):
        box(NEW).open(sealed)


@pytest.mark.parametrize("text", ["", "gAAAA", "nothing sealed", "ä"])
def test_what_was_never_sealed_is_refused(text: str) -> None:
    with pytest.raises(SecretUnreadable):
        box(OLD).open(text)


def test_a_key_may_be_written_in_either_alphabet_and_without_padding() -> None:
    raw = b"\xff\xfe" * 16
    plain, safe = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert box(f" {safe} ").open(box(plain).seal("word")).get_secret_value() == "word"


def test_an_empty_box_refuses_to_keep_anything() -> None:
    with pytest.raises(SecretsUnconfigured, match="openssl rand"):
        box().seal("word")
    with pytest.raises(SecretsUnconfigured):
        box("").open("gAAAA")


@pytest.mark.parametrize("wrong", ["short", "x" * 44, NEW + "!", base64.b64encode(b"y" * 31).decode()])
def test_a_key_that_is_none_is_named_by_its_place_and_not_shown(wrong: str) -> None:
    with pytest.raises(SecretsUnconfigured, match="key 2 of UMBEL_SECRET_KEYS") as refused:
        box(OLD, wrong)
    assert wrong not in str(refused.value)
