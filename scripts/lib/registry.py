"""The only one who writes registry.json: under a lock, into a file beside it, then renamed.
Standard library. The format is docs/REGISTRY_FORMAT.md.

    registry.py REGISTRY names                        all names and aliases, a line each
    registry.py REGISTRY list                         name, task, format and path, with tabs between
    registry.py REGISTRY add NAME PATH TASK [FORMAT]  an entry; one of the same path keeps its keys
    registry.py REGISTRY remove NAME                  takes an entry out, and prints its path
    registry.py REGISTRY reindex FOLDER               anew, from the conversion.json files in there

Exits with 3 and a reason on stdout when it can't be done.
"""

import fcntl
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
            raise Refused(self._broken(str(error))) from None
        except OSError as error:
            raise Refused(f"{self.path} can't be read: {error.strerror}") from None
        if not isinstance(document, dict) or not isinstance(document.get("models"), dict):
            raise Refused(self._broken('it has no object "models"'))
        if document.get("version") != 1:
            raise Refused(self._broken('its "version" is not 1'))
        return document

    def _broken(self, why: str) -> str:
        return f"{self.path} is no registry ({why}): mend its text, or call --reindex"

    @contextmanager
    def locked(self) -> Generator[None]:
        """One at a time. The lock goes with its process, however that ends."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_name(f"{self.path.name}.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

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
        return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)

    def place(self, entry: dict[str, Any]) -> Path:
        """The other way round."""
        return self.path.parent / Path(str(entry.get("path", ""))).expanduser()


def _empty() -> dict[str, Any]:
    return {"version": 1, "models": {}}


def names(registry: Registry) -> Iterator[str]:
    for name, entry in registry.read()["models"].items():
        yield name
        aliases = entry.get("aliases") if isinstance(entry, dict) else None
        yield from (a for a in aliases or () if isinstance(a, str))


def listed(registry: Registry) -> Iterator[str]:
    for name, entry in sorted(registry.read()["models"].items()):
        if isinstance(entry, dict):
            facts = name, entry.get("task", "?"), entry.get("weight_format", "-")
            yield "\t".join(map(str, (*facts, registry.place(entry))))


def add(registry: Registry, name: str, path: str, task: str, form: str = "") -> Iterator[str]:
    with registry.locked():
        document = registry.read()
        models: Models = document["models"]
        said = registry.within(Path(path))
        taken = {n for n in names(registry) if n not in models}
        known = models.get(name, {"path": said})
        if name in taken or known.get("path") != said:
            raise Refused(f"the name '{name}' is in use: say another one with --name")
        models[name] = _entry(known, said, task, form)
        registry.write(document)
    return iter(())


def _entry(known: dict[str, Any], path: str, task: str, form: str) -> dict[str, Any]:
    return {**known, "path": path, "task": task, **({"weight_format": form} if form else {})}


def remove(registry: Registry, name: str) -> Iterator[str]:
    with registry.locked():
        document = registry.read()
        entry = document["models"].pop(name, None)
        if entry is None:
            known = ", ".join(sorted(document["models"])) or "none"
            raise Refused(f"there is no model '{name}'; there are: {known}")
        registry.write(document)
    yield str(registry.place(entry)) if isinstance(entry, dict) else ""


def reindex(registry: Registry, folder: str) -> Iterator[str]:
    """Entries whose files are gone are left out. What people wrote into the others stays, and so do
    entries that no conversion made. A registry that can't be read is set aside."""
    with registry.locked():
        try:
            document = registry.read()
        except Refused as broken:
            aside = registry.path.with_name(f"{registry.path.name}.{int(time.time())}.broken")
            os.replace(registry.path, aside)
            yield f"{broken}; it is set aside as {aside.name}"
            document = _empty()
        old: Models = document["models"]
        models: Models = {}
        for made in record.all_in(Path(folder)):
            name, path = record.free(made.name, models), registry.within(made.folder)
            before = old.get(made.name, {})
            same = isinstance(before, dict) and before.get("path") == path
            models[name] = _entry(before if same else {}, path, made.task, made.weight_format)
        for name, entry in old.items():
            if name not in models and isinstance(entry, dict) and registry.place(entry).exists():
                models[name] = entry
            elif name not in models:
                yield f"left out: {name}, whose files are gone"
        registry.write({**document, "models": models})
    yield f"{len(models)} models: {', '.join(sorted(models)) or 'none'}"


COMMANDS = {"names": names, "list": listed, "add": add, "remove": remove, "reindex": reindex}


def main(path: str, command: str, *words: str) -> None:
    try:
        for line in COMMANDS[command](Registry(Path(path)), *words):
            sys.stdout.write(f"{line}\n")
    except Refused as refused:
        sys.stdout.write(f"{refused}\n")
        sys.exit(REFUSED)
    except OSError as error:
        sys.stdout.write(f"the registry {path} can't be written: {error.strerror}\n")
        sys.exit(REFUSED)


if __name__ == "__main__":
    main(*sys.argv[1:])
