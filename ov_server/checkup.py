"""What ov-doctor asks of the package, as lines for a shell: settings, devices, the registry and its
entries' files. Loads no model and changes nothing.

`python -m ov_server.checkup files SETTINGS | devices | model [NAME]` prints lines with tabs:
`is NAME VALUE`, or a finding: `ok TEXT`, `note TEXT REMEDY`, `bad TEXT REMEDY`. `files` tells of
the settings, and behind a line `--` of the registry.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from pydantic import ValidationError

from .entries import Entry, entry_of
from .errors import LoadFailed
from .modelfiles import EMBEDDED_NAME, ModelFiles, context_length, embedded_model, inspect
from .registryfile import RegistryFile
from .settings import Settings, bad_values, misspelt
from .slots import size_of

Line = tuple[object, ...]
_SHOWN = ("device", "registry_path", "cache_dir", "cache_gb", "memory_limit_gb")


def _settings() -> tuple[Settings, dict[str, str]]:
    """The settings, with defaults in the place of bad values, and what is bad of those."""
    try:
        return Settings(), {}
    except ValidationError as error:
        bad = bad_values(error)
        for name in [name for name in os.environ if name.upper() in bad]:
            del os.environ[name]
        return Settings(), bad


def files(file: str) -> Iterator[Line]:
    """The settings, which are mended in `file`, and the registry."""
    read, bad = _settings()
    yield from _told(read, bad, file)
    yield ("--",)
    yield from _registry(read)


def _told(read: Settings, bad: dict[str, str], file: str) -> Iterator[Line]:
    for said in bad.values():
        yield "bad", f"the server does not start: {said}", f"${{EDITOR:-nano}} {quote(file)}"
    for said in misspelt():
        yield "note", said, f"${{EDITOR:-nano}} {quote(file)}"
    for name in _SHOWN:
        value = getattr(read, name)
        yield "is", name, "" if value is None else value
    if not bad:
        yield "ok", "the server takes every OV_ value"


def devices() -> Iterator[Line]:
    from . import engines

    return (("is", name, said) for name, said in engines.devices().items())


def _registry(read: Settings) -> Iterator[Line]:
    """The file, its entries, and the files of those."""
    file = RegistryFile(read.registry_path, read.within)
    edit = f"${{EDITOR:-nano}} {quote(str(file.path))}"
    if file.error:
        yield "bad", f"{file.path}: {file.error}", f"ov-convert-model --reindex   # or {edit}"
        return
    for name, why in file.state.mistakes.items():
        yield (
            "bad",
            f"{name} is left out: {why}",
            f"{edit}   # docs/REGISTRY_FORMAT.md has the keys",
        )
    entries = list(file.state.entries.values())
    entries += [entry_of(read.model_path)] if read.model_path else []
    whole: list[int] = []
    pinned = 0
    for entry in entries:
        try:
            found = _whole(entry)
        except LoadFailed as error:
            yield "bad", f"{entry.name}: {error.message}", _again(entry, read.model_path)
        else:
            whole.append(found.size)
            pinned += size_of(entry, found, read) if entry.pinned else 0
    if not entries and not file.state.mistakes:
        yield "ok", f"no model is registered: {EMBEDDED_NAME}, which comes along, answers"
    elif whole:
        yield "ok", f"{len(whole)} models with all their files, {sum(whole) / 1e9:.1f} GB"
    yield "is", "pinned", pinned
    yield "is", "asked", " ".join({e.device or read.device for e in entries} | {read.device})


def _again(entry: Entry, fallback: Path | None) -> str:
    if entry.path == fallback:
        return "ls -l " + quote(str(fallback)) + "   # OV_MODEL_PATH has to name a model"
    remove = f"ov-convert-model --remove {quote(entry.name)}"
    return f"ls {quote(str(entry.path.parent))}   # put its files back; or {remove}, and convert it"


def _whole(entry: Entry) -> ModelFiles:
    """A model's files. Raises LoadFailed when one is missing or cut short."""
    files = inspect(entry.path)
    if files.is_gguf:
        context_length(files)
        return files
    for graph in entry.path.glob("openvino*.xml"):
        weights = graph.with_suffix(".bin")
        try:
            needed, there = _bytes_named(graph), weights.stat().st_size
        except OSError as error:
            raise LoadFailed(
                f"{weights.name}: {error.strerror}. Convert the model again."
            ) from None
        if there < needed:
            raise LoadFailed(
                f"{weights.name} is cut short: {there} of {needed} bytes. Convert the model again."
            )
    return files


def _bytes_named(graph: Path) -> int:
    """How long the file of weights is, by the constants in an OpenVINO model's XML."""
    places = re.findall(rb'offset="(\d+)" size="(\d+)"', graph.read_bytes())
    return max((int(offset) + int(size) for offset, size in places), default=0)


def model(name: str = "") -> Iterator[Line]:
    """A model for a test generation, by its name; without one the model that comes along."""
    read, _ = _settings()
    state = RegistryFile(read.registry_path, read.within).state
    embedded = embedded_model()
    entry = state.names.get(name)
    if entry is None and embedded and name in ("", EMBEDDED_NAME):
        entry = entry_of(embedded, EMBEDDED_NAME)
    if entry is None:
        known = ", ".join(state.names) or "none"
        yield "bad", f"there is no model '{name}'; there are: {known}", "ov-convert-model --list"
        return
    try:
        files = inspect(entry.path)
    except LoadFailed as error:
        yield "bad", f"{entry.name}: {error.message}", "ov-convert-model --list"
        return
    path = entry.path
    if files.is_gguf:
        from .conversion import kept_at

        made = kept_at(files, read.cache_dir)
        path = made if made.is_dir() else path
    yield "is", "model", entry.name
    yield "is", "model_path", path
    yield "is", "model_task", entry.task
    yield "is", "model_device", entry.device or read.device


def main(command: str, *words: str) -> None:
    logging.disable()
    commands = {"files": files, "devices": devices, "model": model}
    for line in commands[command](*words):
        parts = ("".join(c if c.isprintable() else "?" for c in str(part)) for part in line)
        sys.stdout.write("\t".join(parts) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
