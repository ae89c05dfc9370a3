"""One registry entry and the parsing of a registry. Pure: text in, entries and mistakes out;
where a path may lead is decided by whoever asks.

The format is docs/REGISTRY_FORMAT.md.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from .markup import Markers
from .mistakes import explain
from .parameters import Parameters
from .settings import DeviceName
from .toolformats import FORMATS

VERSION = 1
CHAT_TASKS = ("text-generation", "text-generation-with-past")
"""What this version has an engine for; models for others are listed."""


class Defaults(Parameters):
    """Generation parameters of an entry; a misspelt one is a mistake, not something to ignore."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", frozen=True)


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise PydanticCustomError("format", "it is none of {known}", {"known": ", ".join(FORMATS)})
    return name


ToolFormatName = Annotated[str, AfterValidator(_known_format)]


class ReasoningMarkers(BaseModel):
    """Texts that a model writes before and behind its reasoning."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    opening: str = Field(min_length=1, max_length=100)
    closing: str = Field(min_length=1, max_length=100)


class Entry(BaseModel):
    """One model by name. Keys that are not named here are kept and ignored."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$")
    """The key in the registry."""
    path: Path = Field(strict=False)
    """An OpenVINO folder or a GGUF file; relative to the registry's folder."""
    task: str = "text-generation-with-past"
    """Hugging Face's name of what it does."""
    weight_format: str | None = None
    """How the weights are stored; shown, not needed."""
    aliases: list[str] = []
    """Other names that it answers to."""
    device: DeviceName | None = None
    """Overrides OV_DEVICE."""
    pinned: bool = False
    """Loaded at start, and never unloaded to make room or for being idle."""
    idle_unload_s: float | None = Field(None, ge=0)
    """Overrides OV_IDLE_UNLOAD_S."""
    context_length: int | None = Field(None, ge=16)
    """Tokens; lowers what the model's files say."""
    kv_cache_gb: int | None = Field(None, ge=1)
    """Overrides OV_KV_CACHE_GB."""
    defaults: Defaults = Defaults()
    """Generation parameters for requests that do not say."""
    tool_format: ToolFormatName | None = None
    """How the model writes tool calls, where its chat template does not tell it right."""
    reasoning: bool | ReasoningMarkers | None = None
    """What stands around the model's reasoning; false is nothing: it is shown as text."""

    @property
    def reasoning_markers(self) -> Markers | bool | None:
        """The same for the engine."""
        said = self.reasoning
        return Markers(said.opening, said.closing) if isinstance(said, ReasoningMarkers) else said


@dataclass(frozen=True, slots=True)
class RegistryState:
    """What a registry said when it was last read and understood."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    names: Mapping[str, Entry] = field(default_factory=dict)
    """By name and by alias."""
    mistakes: Mapping[str, str] = field(default_factory=dict)
    """Why an entry was left out, by its name."""


Place = Callable[[Path], Path]
"""Where a model's path leads. Raises ValueError when it may not lead there."""


def parse_registry(
    text: str | bytes, folder: Path, place: Place = lambda path: path
) -> RegistryState:
    """The registry's entries. Raises ValueError, with the reason, when the whole is broken."""
    models = _models(text)
    entries: dict[str, Entry] = {}
    mistakes: dict[str, str] = {}
    for name, value in models.items():
        shown = name.encode("utf-8", "replace").decode()
        try:
            entries[name] = _entry(name, value, folder, place)
        except ValueError as error:
            mistakes[shown] = str(error)
    owners = {name: name for name in entries}
    for entry in list(entries.values()):
        for alias in entry.aliases:
            if (owner := owners.setdefault(alias, entry.name)) != entry.name:
                mistakes[f"alias '{alias}' of '{entry.name}'"] = f"the name is taken by '{owner}'"
        kept = [alias for alias in entry.aliases if owners[alias] == entry.name]
        entries[entry.name] = entry.model_copy(update={"aliases": kept})
    names = {name: entries[owner] for name, owner in owners.items()}
    return RegistryState(entries, names, mistakes)


def _models(text: str | bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, dict) or not isinstance(document.get("models"), dict):
        raise ValueError('it must be an object with an object "models"')
    if document.get("version") != VERSION:
        raise ValueError(f'"version" must be {VERSION}, and is {document.get("version")!r}')
    return document["models"]


def _entry(name: str, value: Any, folder: Path, place: Place) -> Entry:
    if not isinstance(value, dict):
        raise ValueError("it must be an object")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a surrogate pair, which is no character") from None
    said = {**value, "name": name}
    try:
        entry = Entry.model_validate(said)
    except ValidationError as error:
        raise ValueError(_told(error, said)) from None
    try:
        path = entry.path.expanduser()
    except RuntimeError:
        raise ValueError("path: there is no such home folder") from None
    if b"\0" in os.fsencode(path):
        raise ValueError("path: it holds a null character")
    return entry.model_copy(update={"path": place(folder / path)})


def _told(error: ValidationError, said: Mapping[str, Any]) -> str:
    plain = {
        "extra_forbidden": f"it is none of {', '.join(Defaults.model_fields)}",
        "string_pattern_mismatch": "letters, digits and . _ : / @ + - make a name, at most 200",
    }
    return "; ".join(f"{m.path or 'it'}: {m.said}" for m in explain(error.errors(), said, plain))


def entry_of(path: Path, name: str | None = None) -> Entry:
    """An entry for a model that no registry names; its own file name, as a slug, names it."""
    slug = "-".join(re.findall(r"[a-z0-9]+", path.stem.lower()))
    return Entry(name=name or slug or "model", path=path)


def changes(old: RegistryState, new: RegistryState) -> str:
    """What came, went and changed between two states, for the log; empty when nothing did."""
    before, after = old.entries, new.entries
    said = {
        "added": after.keys() - before.keys(),
        "removed": before.keys() - after.keys(),
        "changed": {name for name in after.keys() & before.keys() if after[name] != before[name]},
    }
    return "; ".join(f"{what} {', '.join(sorted(names))}" for what, names in said.items() if names)
