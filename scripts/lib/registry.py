"""The only one who writes registry.json: under a lock, into a file beside it, then renamed.
Standard library. The format is docs/REGISTRY_FORMAT.md.

    registry.py REGISTRY names                        all names and aliases, a line each
    registry.py REGISTRY list                         name, task, format and path, with tabs between
                                                      and a zero byte after each
    registry.py REGISTRY broken                       reason and name of what is no entry
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

import ending
import record


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
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise Refused(f"{self.path} is no file: move it away, or set OV_REGISTRY_PATH")
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
            # half a surrogate pair that somebody wrote stays what it is, as \\udXXX
            with open(part, "w", encoding="utf-8", errors="backslashreplace") as file:
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
        if not _is_text(said):
            raise Refused(f"{said!a} is not UTF-8, as JSON has to be: rename that folder")
        return said

    def place(self, entry: dict[str, Any]) -> Path:
        """The other way round, of an entry without a fault."""
        return self.path.parent / os.path.expanduser(str(entry.get("path", "")))


def placed(entry: object) -> bool:
    """Whether it names a path that there may be."""
    path = entry.get("path") if isinstance(entry, dict) else None
    return isinstance(path, str) and path != "" and "\0" not in path and _is_text(path)


def fault(name: str, entry: object) -> str | None:
    """Why it is no entry, as the server sees it; None is nothing."""
    aliases = entry.get("aliases") or [] if isinstance(entry, dict) else []
    letters = name.isascii() and all(letter.isalnum() or letter in "._:/@+-" for letter in name)
    if not letters or not name[:1].isalnum() or len(name) > 200:
        return "its name is none that a client can call"
    if not isinstance(entry, dict):
        return "it is no object"
    if not placed(entry):
        return "it names no path that there can be"
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        return "its aliases are no list of names"
    if not _is_text(json.dumps(entry, ensure_ascii=False)):
        return "it holds half a surrogate pair, which is no character"
    return None


def _is_text(said: str) -> bool:
    try:
        said.encode()
    except UnicodeEncodeError:
        return False
    return True


def _empty() -> dict[str, Any]:
    return {"version": 1, "models": {}}


def _same(one: Path, other: Path) -> bool:
    """Whether both are one file or folder, however it is reached, or would be."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def names(registry: Registry) -> Iterator[str]:
    yield from (name for name in _names(registry.read()["models"]) if "\n" not in name)


def _names(models: Models) -> Iterator[str]:
    for name, entry in models.items():
        yield name
        aliases = entry.get("aliases") if isinstance(entry, dict) else None
        yield from (a for a in (aliases if isinstance(aliases, list) else ()) if isinstance(a, str))


def path(registry: Registry, name: str) -> Iterator[str]:
    models = registry.read()["models"]
    entry = models[_known(models, name)]
    yield str(registry.place(entry)) if placed(entry) else ""


def _known(models: Models, name: str) -> str:
    """The key of that name, which may hold what no argument can."""
    for key in (name, *models):
        if key in models and ending.spelt(key) == os.fsencode(name):
            return key
    known = ", ".join(sorted(models)) or "none"
    raise Refused(f"There is no model '{name}'; there are: {known}")


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
        if placed(entry):
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
        if not fault(name, entry):
            facts = name, entry.get("task", "?"), entry.get("weight_format", "-")
            said = (str(fact).replace("\t", " ") for fact in facts)
            yield "\t".join((*said, str(registry.place(entry))))


def broken(registry: Registry) -> Iterator[str]:
    for name, entry in sorted(registry.read()["models"].items()):
        if why := fault(name, entry):
            yield f"{why}\t{name}".replace("\0", "?")


def add(registry: Registry, name: str, path: str, task: str, form: str = "") -> Iterator[str]:
    with registry.locked():
        document = registry.read()
        models: Models = document["models"]
        known = models.get(name, {})
        taken = name not in models and name in _names(models)
        if name in models:
            taken = not placed(known) or not _same(registry.place(known), Path(path))
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
        del document["models"][_known(document["models"], name)]
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
        if why := fault(name, entry):
            yield f"{name} is left as it is: {why}"
            continue
        place = registry.place(entry)
        if not os.path.exists(place):
            remedy = f"mount their disk, or forget it with --remove {name}"
            yield f"the files of {name} are not at {place}: {remedy}"
    yield f"{len(models)} models: {', '.join(sorted(models)) or 'none'}"


def _renewed(registry: Registry, old: Models, folder: str) -> Models:
    """The entries with what the conversions in that folder say."""
    models = {name: dict(entry) for name, entry in old.items() if isinstance(entry, dict)}
    for made in record.all_in(Path(folder)):
        facts = made.task, made.weight_format
        known = [
            name
            for name, entry in models.items()
            if placed(entry) and _same(registry.place(entry), made.folder)
        ]
        for name in known:
            models[name] = _entry(models[name], models[name]["path"], *facts)
        if known:
            continue
        before = models.get(made.name, {})
        if not (placed(before) and _has_gone(registry.place(before), made.folder)):
            before = {}
        name = made.name if before else record.free(made.name, set(_names(models)))
        models[name] = _entry(before, registry.within(made.folder), *facts)
    return models


def _has_gone(place: Path, folder: Path) -> bool:
    """Whether a conversion was moved by hand from that place to this folder."""
    return not os.path.exists(place) and place.name == folder.name


COMMANDS = {
    "names": names,
    "list": listed,
    "broken": broken,
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
    end = "\0" if command in ("list", "unserved", "broken", "reindex") else "\n"
    try:
        for line in COMMANDS[command](Registry(Path(path)), *words):
            ending.say(line + end)
    except Refused as refused:
        ending.say(f"{refused}\n")
        sys.exit(ending.REFUSED)
    except OSError as error:
        why = f"{error.filename or path}: {error.strerror}"
        ending.say(
            f"The registry {path} can't be written ({why}): give it and its folder to yourself, "
            "make their disk writable, or set OV_REGISTRY_PATH\n"
        )
        sys.exit(ending.REFUSED)


if __name__ == "__main__":
    ending.to_the_end(main)
