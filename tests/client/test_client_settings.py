"""Where the client finds its server, and which server may see which key."""

from pathlib import Path

import pytest
from umbel_client import ConfigurationInvalid, ConfigurationMissing
from umbel_client.config import load_settings


def store(directory: Path, url: str = "http://127.0.0.1:8080", key: str = "stored") -> Path:
    path = directory / ".umbel" / "client.env"
    path.parent.mkdir()
    path.write_text(f"# written by the local stack\nUMBEL_URL={url}\nUMBEL_API_KEY={key}\nUMBEL_FLOWER_URL=http://f/\n")
    return path


def test_the_nearest_client_env_above_the_working_directory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store(tmp_path)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    settings = load_settings()
    assert (settings.url, settings.api_key, settings.source) == ("http://127.0.0.1:8080", "stored", str(path))
    assert settings.flower_url == "http://f/"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path)
    monkeypatch.setenv("UMBEL_URL", "https://umbel.example/")
    monkeypatch.setenv("UMBEL_API_KEY", "mine")
    settings = load_settings()
    assert (settings.url, settings.api_key, settings.flower_url) == ("https://umbel.example", "mine", None)


def test_without_any_setting_the_message_says_how_to_get_one() -> None:
    with pytest.raises(ConfigurationMissing, match=r"make run.*UMBEL_URL and UMBEL_API_KEY"):
        load_settings()


def test_a_stored_key_is_not_sent_to_another_server(tmp_path: Path) -> None:
    store(tmp_path)
    with pytest.raises(ConfigurationMissing, match="UMBEL_API_KEY"):
        load_settings(url="https://elsewhere.example")


def test_a_stray_file_cannot_draw_the_key_out_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, url="https://elsewhere.example")
    monkeypatch.setenv("UMBEL_API_KEY", "mine")
    with pytest.raises(ConfigurationMissing, match=r"will not be sent to https://elsewhere.example"):
        load_settings()


def test_a_key_from_the_environment_goes_to_the_local_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path)
    monkeypatch.setenv("UMBEL_API_KEY", "mine")
    assert load_settings().api_key == "mine"


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://", "http://user:pw@host", "http://host/?a=1"])
def test_a_url_that_is_none_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="UMBEL_URL"):
        load_settings(url, "key")


def test_a_key_with_a_line_break_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        load_settings("http://127.0.0.1:1", "secret\r\nX: y")
    assert "secret" not in str(caught.value)


def test_the_key_is_not_in_the_representation() -> None:
    assert "hush" not in repr(load_settings("http://127.0.0.1:1", "hush"))
