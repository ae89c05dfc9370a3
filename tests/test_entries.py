"""One registry's text to entries and mistakes."""

import json
from pathlib import Path
from typing import Any

import pytest

from ov_server.entries import RegistryState, changes, entry_of, parse_registry
from ov_server.markup import Markers

FOLDER = Path("/models")


def parsed(models: dict[str, Any]) -> RegistryState:
    return parse_registry(json.dumps({"version": 1, "models": models}), FOLDER)


def test_a_path_alone_is_an_entry() -> None:
    entry = parsed({"a": {"path": "folder/a"}}).entries["a"]
    assert entry.path == FOLDER / "folder/a"
    assert (entry.task, entry.pinned, entry.aliases) == ("text-generation-with-past", False, [])
    assert entry.idle_unload_s is entry.device is entry.context_length is entry.kv_cache_gb is None
    assert entry.defaults.sampling().temperature is None


def test_every_optional_key_is_read() -> None:
    said = {
        "path": "a",
        "task": "image-text-to-text",
        "weight_format": "int4",
        "aliases": ["x"],
        "device": "GPU.1",
        "pinned": True,
        "idle_unload_s": 1.5,
        "context_length": 4096,
        "kv_cache_gb": 3,
        "tool_format": "mistral",
        "reasoning": {"opening": "<t>", "closing": "</t>"},
        "defaults": {"temperature": 0.2, "max_tokens": 10, "repeat_penalty": 1.1},
    }
    entry = parsed({"a": said}).entries["a"]
    assert entry.model_dump(exclude={"name", "path", "defaults"}) == {
        key: value for key, value in said.items() if key not in ("path", "defaults")
    }
    sampling = entry.defaults.sampling()
    assert entry.reasoning_markers == Markers("<t>", "</t>")
    assert (sampling.temperature, sampling.max_tokens) == (0.2, 10)
    assert sampling.repetition_penalty == 1.1


def test_unknown_keys_are_kept() -> None:
    entry = parsed({"a": {"path": "a", "converted_at": "today", "notes": [1]}}).entries["a"]
    assert entry.model_extra == {"converted_at": "today", "notes": [1]}


def test_absolute_and_home_paths_are_taken_as_they_are() -> None:
    entries = parsed({"a": {"path": "/elsewhere/a"}, "b": {"path": "~/b"}}).entries
    assert entries["a"].path == Path("/elsewhere/a")
    assert entries["b"].path == Path.home() / "b"


MISTAKES: list[tuple[Any, str]] = [
    ("a string", "object"),
    (None, "object"),
    ({}, "path"),
    ({"path": 5}, "path"),
    ({"path": "a", "aliases": "x"}, "aliases"),
    ({"path": "a", "aliases": [5]}, "aliases[0]: it must be a string, and is 5"),
    ({"path": "a", "device": ""}, "device"),
    ({"path": "a", "pinned": "yes"}, "pinned"),
    ({"path": "a", "idle_unload_s": -1}, "idle_unload_s"),
    ({"path": "a", "idle_unload_s": float("nan")}, "idle_unload_s"),
    ({"path": "a", "context_length": 0}, "context_length"),
    ({"path": "a", "kv_cache_gb": 0.5}, "kv_cache_gb"),
    ({"path": "a", "tool_format": "klingon"}, "tool_format: it is none of qwen3-coder, hermes"),
    (
        {"path": "a", "reasoning": "<think>"},
        'reasoning: it must be true, false or an object, and is "<think>"',
    ),
    (
        {"path": "a", "reasoning": {"opening": "<think>"}},
        "reasoning.closing: it is required, and is missing",
    ),
    (
        {"path": "a", "reasoning": {"opening": "", "closing": "x"}},
        "reasoning.opening: it must have",
    ),
    ({"path": "a", "defaults": {"temperature": 3}}, "defaults.temperature"),
    ({"path": "a", "defaults": {"temprature": 1}}, "defaults.temprature"),
    ({"path": "a", "defaults": {"min_tokens": 9, "max_tokens": 3}}, "min_tokens"),
]


@pytest.mark.parametrize(("entry", "told"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_leaves_the_entry_out_and_names_the_key(entry: Any, told: str) -> None:
    state = parsed({"bad": entry, "good": {"path": "good"}})
    assert list(state.entries) == ["good"]
    assert list(state.mistakes) == ["bad"]
    assert told in state.mistakes["bad"]


@pytest.mark.parametrize("name", ["", "a b", "../a", "-a", "a\nb", "é", "a" * 201])
def test_a_name_that_no_client_could_send_is_a_mistake(name: str) -> None:
    state = parsed({name: {"path": "a"}})
    assert state.entries == {}
    assert "name" in state.mistakes[name]


@pytest.mark.parametrize("name", ["a", "org/model", "qwen3:8b", "a.b_c+d@e-f", "0" * 200])
def test_usual_names_are_names(name: str) -> None:
    assert list(parsed({name: {"path": "a"}}).entries) == [name]


def test_an_alias_that_is_taken_is_left_out_and_told() -> None:
    state = parsed(
        {
            "a": {"path": "a", "aliases": ["b", "x"]},
            "b": {"path": "b", "aliases": ["x", "y", "b"]},
        }
    )
    assert {name: entry.name for name, entry in state.names.items()} == {
        "a": "a",
        "b": "b",
        "x": "a",
        "y": "b",
    }
    assert len(state.mistakes) == 2
    assert list(state.entries) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "line 1"),
        ("5", "object"),
        ('{"version": 3, "models": {}}', "3"),
        ('{"version": "1", "models": {}}', "'1'"),
        ("[" * 100_000, "nested"),
    ],
    ids=lambda value: value[:30],
)
def test_a_text_that_is_no_registry_says_why(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_registry(text, FOLDER)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Qwen3-8B.Q4_K_M.gguf", "qwen3-8b-q4-k-m"),
        ("My Model", "my-model"),
        ("模型", "model"),
    ],
)
def test_a_file_of_no_registry_is_named_after_itself(file: str, name: str) -> None:
    assert entry_of(FOLDER / file).name == name


def test_changes_are_told_by_kind() -> None:
    old = parsed({"a": {"path": "a"}, "b": {"path": "b"}, "c": {"path": "c"}})
    new = parsed({"b": {"path": "b"}, "c": {"path": "z"}, "d": {"path": "d"}})
    assert changes(old, new) == "added d; removed a; changed c"
    assert changes(new, new) == ""
