"""Settings come from the environment; a bad one stops the start and is named."""

from pathlib import Path

import pytest

from ov_server.settings import Settings, read_settings


def test_every_setting_has_a_default_and_says_what_it_is() -> None:
    read_settings()
    for name, field in Settings.model_fields.items():
        assert not field.is_required(), name
        assert field.description, name


def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OV_MAX_LOADED", "7")
    monkeypatch.setenv("OV_LOG_FORMAT", "json")
    settings = read_settings()
    assert (settings.max_loaded, settings.log_format) == (7, "json")


BAD = [
    ("OV_LOG_LEVEL", "LOUD"),
    ("OV_LOG_FORMAT", "xml"),
    ("OV_REGISTRY_PATH", "~nobody-here/registry.json"),
    ("OV_CACHE_GB", "0"),
    ("OV_KV_CACHE_GB", "1.5"),
    ("OV_KV_CACHE_GB", "0"),
    ("OV_MAX_LOADED", "0"),
    ("OV_MAX_LOADED", "many"),
    ("OV_MEMORY_LIMIT_GB", "-1"),
    ("OV_MEMORY_LIMIT_GB", "nan"),
    ("OV_IDLE_UNLOAD_S", "-1"),
    ("OV_MAX_QUEUE", "0"),
    ("OV_MAX_RUNNING", "0"),
    ("OV_PREFILL_CHUNK", "1"),
    ("OV_PREFILL_SLICE", "1"),
    ("OV_MAX_BODY_MB", "0"),
    ("OV_MAX_BODY_MB", "2000"),
    ("OV_KEEP_ALIVE_S", "0"),
    ("OV_KEEP_ALIVE_S", "60"),
    ("OV_SESSIONS_DB", "~nobody-here/sessions.db"),
    ("OV_SESSIONS_DB_MB", "0"),
    ("OV_STOP_GRACE_S", "-1"),
    ("OV_STOP_GRACE_S", "1.5"),
    ("OV_ALLOWED_HOSTS", "*"),
    ("OV_ALLOWED_HOSTS", "http://mini:9000"),
    ("OV_CORS_ORIGINS", "*"),
    ("OV_CORS_ORIGINS", "https://chat.example/"),
    ("OV_CONFINE_MODELS", "perhaps"),
    ("OV_MODEL_OUT", "~nobody-here/models"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_stops_the_start_and_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        read_settings()
    assert f"{name}='{value}'" in str(caught.value)
    assert "ov-server.env" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["ann=", "ann=secret words", "secret,secret", "ann=secret,ann=secret2", "/no/secret/file"],
)
def test_a_bad_value_of_keys_stops_the_start_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("OV_API_KEYS", value)
    with pytest.raises(SystemExit, match="OV_API_KEYS: ") as caught:
        read_settings()
    assert "secret" not in str(caught.value)


def test_a_file_of_keys_is_checked_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    monkeypatch.setenv("OV_API_KEYS", str(path))
    path.write_text("ann a-secret-of-somebody\nbob\n")
    with pytest.raises(SystemExit, match=r"OV_API_KEYS: .*line 2") as caught:
        read_settings()
    assert "a-secret" not in str(caught.value)
    path.write_text("ann a-secret-of-somebody\n")
    assert "a-secret" not in str(read_settings().model_dump(mode="json"))


def test_hosts_and_origins_are_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OV_ALLOWED_HOSTS", "llm.example.com, .house.example")
    monkeypatch.setenv("OV_CORS_ORIGINS", "https://chat.example,http://mini:3000")
    settings = read_settings()
    assert settings.allowed_hosts == ("llm.example.com", ".house.example")
    assert settings.cors_origins == ("https://chat.example", "http://mini:3000")


def test_all_bad_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OV_MAX_QUEUE", "x")
    monkeypatch.setenv("OV_MAX_LOADED", "y")
    with pytest.raises(SystemExit, match=r"(?s)OV_MAX_LOADED.*OV_MAX_QUEUE"):
        read_settings()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    expected = read_settings()
    monkeypatch.setenv(f"OV_{name.upper()}", "")
    assert read_settings() == expected


@pytest.mark.parametrize(
    "name", ["registry_path", "model_path", "cache_dir", "model_out", "sessions_db"]
)
def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"OV_{name.upper()}", "~/somewhere")
    assert getattr(read_settings(), name) == Path.home() / "somewhere"


def test_the_default_paths_are_in_the_home_folder() -> None:
    settings = read_settings()
    assert settings.registry_path.is_relative_to(Path.home())
    assert settings.cache_dir.is_relative_to(Path.home())


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(read_settings(), "device", "CPU")  # noqa: B010  (a type checker sees the other)
