"""The only one who writes registry.json: under a lock, into a file beside it, then renamed.
Standard library. The format is docs/REGISTRY_FORMAT.md.

    registry.py REGISTRY names                        all names and aliases, a line each
    registry.py REGISTRY list                         name, task, format and path, with tabs between
                                                      and a zero byte after each
    registry.py REGISTRY path NAME                    where its files are, or an empty line
    registry.py REGISTRY serving PATH                 the names that are registered for it
    registry.py REGISTRY used PATH                    those, and the names of what lies in it
    registry.py REGISTRY unserved FOLDER              the conversions in there that no name serves,
                                                      as list says them
    registry.py REGISTRY writable                     nothing, where an entry could be added
    registry.py REGISTRY add NAME PATH TASK [FORMAT]  an entry; one of the same path keeps its keys
    registry.py REGISTRY remove NAME                  takes an entry out, and prints its path
    registry.py REGISTRY reindex FOLDER               anew, from the conversion.json files in there

Exits with 3 and a reason on stdout when it can't be done.
"""

import fcntl
import itertools
import json
import os
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import record

REFUSED = 3


class Refused(Exception):
    """Nothing was changed; the message says why and what to do."""


class Broken(Refused):
    """The file can be read, and is no registry."""


Models = dict[str, dict[str, Any]]


class Registry:
    def __init__(self, path: Path):
        self.path = path

    def read(self) -> dict[str, Any]:
        """The whole document. Raises Refused where the file is no registry."""
        try:
            document = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return _empty()
        except (ValueError, RecursionError) as error:
            raise Broken(self._broken(str(error))) from None
        except OSError as error:
            why = f"{self.path} can't be read: {error.strerror}"
            raise Refused(f"{why}. Mend that, or set OV_REGISTRY_PATH") from None
        if not isinstance(document, dict) or not isinstance(document.get("models"), dict):
            raise Broken(self._broken('it has no object "models"'))
        if document.get("version") != 1:
            raise Broken(self._broken('its "version" is not 1'))
        return document

    def _broken(self, why: str) -> str:
        return f"{self.path} is no registry ({why}): mend its text, or call --reindex"

    @property
    def lock(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    @contextmanager
    def locked(self) -> Generator[None]:
        """One at a time. The lock goes with its process, however that ends."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.lock, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def try_writing(self) -> None:
        """Raises OSError where `write` would; nothing is left behind."""
        from tempfile import TemporaryFile  # takes longer than what most calls do

        folder = self.path.parent
        while not os.path.lexists(folder):  # it is made by `locked`
            folder = folder.parent
        for place in (folder, self.path.resolve().parent if self.path.is_symlink() else folder):
            with TemporaryFile(dir=place):
                pass
        if self.lock.exists():
            with open(self.lock, "a"):
                pass

    def keep(self, ending: str) -> Path:
        """A copy of it as it is, under a name with the time and this ending."""
        file = self.path.resolve()
        name = f"{file.name}.{time.strftime('%Y-%m-%dT%H-%M-%S')}"
        copy = file.with_name(f"{name}.{ending}")
        for number in itertools.count(2):
            if not os.path.lexists(copy):
                break
            copy = file.with_name(f"{name}-{number}.{ending}")
        with open(copy, "xb") as content:
            content.write(file.read_bytes())
            content.flush()
            os.fsync(content.fileno())
        return copy

    def write(self, document: dict[str, Any]) -> None:
        """Whole or not at all, also when the power fails."""
        target = self.path.resolve()  # of a link, what it points to
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with open(part, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=2, ensure_ascii=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                os.chmod(part, target.stat().st_mode & 0o777)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def within(self, path: Path) -> str:
        """A path as the registry names it: relative to its folder, where it lies in there."""
        folder = self.path.parent.resolve()
        path = Path(os.path.abspath(path))
        whole = path.parent.resolve() / path.name
        said = str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)
        try:
            said.encode()
        except UnicodeEncodeError:
            raise Refused(f"{said!a} is not UTF-8, as JSON has to be: rename that folder") from None
        return said

    def place(self, entry: dict[str, Any]) -> Path:
        """The other way round."""
        return self.path.parent / os.path.expanduser(str(entry.get("path", "")))


def _empty() -> dict[str, Any]:
    return {"version": 1, "models": {}}


def _same(one: Path, other: Path) -> bool:
    """Whether both are one file or folder, however it is reached, or would be."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def names(registry: Registry) -> Iterator[str]:
    yield from _names(registry.read()["models"])


def _names(models: Models) -> Iterator[str]:
    for name, entry in models.items():
        yield name
        aliases = entry.get("aliases") if isinstance(entry, dict) else None
        yield from (a for a in aliases or () if isinstance(a, str))


def path(registry: Registry, name: str) -> Iterator[str]:
    entry = _known(registry.read()["models"], name)
    yield str(registry.place(entry)) if isinstance(entry, dict) and entry.get("path") else ""


def _known(models: Models, name: str) -> Any:
    if name not in models:
        known = ", ".join(sorted(models)) or "none"
        raise Refused(f"There is no model '{name}'; there are: {known}")
    return models[name]


def serving(registry: Registry, path: str) -> Iterator[str]:
    for name, place in _places(registry):
        if _same(place, Path(path)):
            yield name


def used(registry: Registry, path: str) -> Iterator[str]:
    folder = Path(path).resolve()
    for name, place in _places(registry):
        if _same(place, folder) or place.resolve().is_relative_to(folder):
            yield name


def _places(registry: Registry) -> Iterator[tuple[str, Path]]:
    for name, entry in registry.read()["models"].items():
        if isinstance(entry, dict) and entry.get("path"):
            yield name, registry.place(entry)


def unserved(registry: Registry, folder: str) -> Iterator[str]:
    places = [place for _, place in _places(registry)]
    for made in record.all_in(Path(folder)):
        if not any(_same(place, made.folder) for place in places):
            yield "\t".join((made.name, made.task, made.weight_format, str(made.folder)))


def writable(registry: Registry) -> Iterator[str]:
    registry.read()
    registry.try_writing()
    return iter(())


def listed(registry: Registry) -> Iterator[str]:
    for name, entry in sorted(registry.read()["models"].items()):
        if isinstance(entry, dict):
            facts = name, entry.get("task", "?"), entry.get("weight_format", "-")
            yield "\t".join(map(str, (*facts, registry.place(entry))))


def add(registry: Registry, name: str, path: str, task: str, form: str = "") -> Iterator[str]:
    with registry.locked():
        document = registry.read()
        models: Models = document["models"]
        known = models.get(name, {})
        taken = name not in models and name in _names(models)
        if name in models:
            there = isinstance(known, dict) and known.get("path")
            taken = not there or not _same(registry.place(known), Path(path))
        if taken:
            raise Refused(f"the name '{name}' is in use: say another one with --name")
        models[name] = _entry(known, known.get("path") or registry.within(Path(path)), task, form)
        registry.write(document)
    return iter(())


def _entry(known: dict[str, Any], path: str, task: str, form: str) -> dict[str, Any]:
    return {**known, "path": path, "task": task, **({"weight_format": form} if form else {})}


def remove(registry: Registry, name: str) -> Iterator[str]:
    with registry.locked():
        document = registry.read()
        _known(document["models"], name)
        del document["models"][name]
        registry.write(document)
    return iter(())


def reindex(registry: Registry, folder: str) -> Iterator[str]:
    """What people wrote stays, and so do entries that no conversion made, or whose files are not
    there: their disk may be. What an entry said that is changed is kept in a copy."""
    with registry.locked():
        try:
            document = registry.read()
        except Broken as broken:
            copy = registry.keep("broken")
            yield f"{broken}; it is kept as {copy}"
            yield f"what was imported, and what was written by hand, is only in {copy} now"
            document = _empty()
        old: Models = document["models"]
        models = _renewed(registry, old, folder)
        if any(models.get(name) != entry for name, entry in old.items()):
            yield f"entries have changed; what they were is kept in {registry.keep('bak')}"
        registry.write({**document, "models": models})
    for name in sorted(old.keys() - models.keys()):
        yield f"left out: {name}, which is no entry"
    for name, entry in sorted(models.items()):
        place = registry.place(entry)
        if not place.exists():
            remedy = f"mount their disk, or forget it with --remove {name}"
            yield f"the files of {name} are not at {place}: {remedy}"
    yield f"{len(models)} models: {', '.join(sorted(models)) or 'none'}"


def _renewed(registry: Registry, old: Models, folder: str) -> Models:
    """The entries with what the conversions in that folder say."""
    models = {name: dict(entry) for name, entry in old.items() if isinstance(entry, dict)}
    for made in record.all_in(Path(folder)):
        facts = made.task, made.weight_format
        known = [n for n, e in models.items() if _same(registry.place(e), made.folder)]
        for name in known:
            models[name] = _entry(models[name], models[name]["path"], *facts)
        if known:
            continue
        before = models.get(made.name, {})
        place = registry.place(before)
        if place.exists() or place.name != made.folder.name:  # else it was moved by hand
            before = {}
        name = made.name if before else record.free(made.name, set(_names(models)))
        models[name] = _entry(before, registry.within(made.folder), *facts)
    return models


COMMANDS = {
    "names": names,
    "list": listed,
    "path": path,
    "serving": serving,
    "used": used,
    "unserved": unserved,
    "writable": writable,
    "add": add,
    "remove": remove,
    "reindex": reindex,
}


def main(path: str, command: str, *words: str) -> None:
    end = "\0" if command in ("list", "unserved") else "\n"
    try:
        for line in COMMANDS[command](Registry(Path(path)), *words):
            _say(line + end)
    except Refused as refused:
        _say(f"{refused}\n")
        sys.exit(REFUSED)
    except OSError as error:
        why = f"{error.filename or path}: {error.strerror}"
        _say(
            f"The registry {path} can't be written ({why}): give it and its folder to yourself, "
            "make their disk writable, or set OV_REGISTRY_PATH\n"
        )
        sys.exit(REFUSED)


def _say(text: str) -> None:
    """Names may be of any bytes."""
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    main(*sys.argv[1:])
