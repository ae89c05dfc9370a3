"""conversion.json: what a converted folder was made from, and how. Standard library.

record.py find FOLDER SOURCE        the conversions in FOLDER that were made from these very
                                    weights: name, folder, task, format, whether the original
                                    stays, whether it is to be registered, with tabs between
record.py write FOLDER FACTS        FACTS is NAME=VALUE...; what can be found out is added
record.py made FOLDER               name, task and format, with tabs between
record.py moving FOLDER PLACE WORK  prepares in WORK what FOLDER says when its original has moved
record.py settle WORK               puts that into its place, if the original has moved
record.py adopt FOLDER NAME         it is registered now, under this name

Exits with 3 and a reason on stdout when the disk does not let it.
"""

import json
import os
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ending
import source

FILE = "conversion.json"
_MOVING = "moving.json"
_MOST = 100_000_000
"""Bytes of such a file; whatever is larger is something else."""
_TOOLS = ("optimum-intel", "optimum", "transformers", "nncf", "torch", "openvino")


class Made(NamedTuple):
    """One conversion that is there."""

    name: str
    folder: Path
    task: str
    weight_format: str
    facts: dict[str, Any]


def all_in(folder: Path) -> Iterator[Made]:
    """The conversions below a folder: NAME/task-TASK__wf-FORMAT/conversion.json."""
    for file in sorted(folder.glob(f"*/task-*/{FILE}")):
        facts = _json(file)
        if said := _said(facts):  # else it is not whole, or not written here: nobody's
            yield Made(said[0], file.parent, said[1], said[2], facts)


def _said(facts: dict[str, Any]) -> list[str]:
    """Name, task and format; nothing where one of them is no word."""
    said = [facts.get(key) for key in ("name", "task", "weight_format")]
    words = [word for word in said if isinstance(word, str) and word and word.isprintable()]
    return words if len(words) == len(said) else []


def free(name: str, taken: Collection[str]) -> str:
    """The name, or the first of name-2, name-3, ... that nobody has."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def find(folder: str, original: str) -> None:
    """A folder that was downloaded anew under an old name is another one; one that is reached by
    another path is not."""
    place = os.path.realpath(original)
    prints = fingerprints(Path(original))
    for made in all_in(Path(folder)):
        if _weights_of(made) == prints and _original_of(made) == place:
            stays = "stays" if made.facts.get("keep_original") else "moves"
            listed = "yes" if made.facts.get("register") else "no"
            _say(made.name, made.folder, made.task, made.weight_format, stays, listed)


def _weights_of(made: Made) -> dict[str, tuple[object, object]]:
    weights = made.facts.get("weights")
    known = weights.items() if isinstance(weights, dict) else ()
    return {n: (w.get("bytes"), w.get("modified_ns")) for n, w in known if isinstance(w, dict)}


def _original_of(made: Made) -> str | None:
    said = made.facts.get("original")
    if not isinstance(said, str) or not said or "\0" in said:
        return None
    return os.path.realpath(said)


def fingerprints(folder: Path) -> dict[str, tuple[int, int]]:
    """Bytes and time of each file of weights."""
    stats = {file.name: file.stat() for file in source.weights(folder)}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def write(folder: str, *said: str) -> None:
    """Adds the weights with their checksums, the tools' versions, the time and the size."""
    at = said.index("--")
    facts: dict[str, Any] = dict(fact.split("=", 1) for fact in said[:at])
    original, environment = Path(facts["original"]), Path(facts.pop("environment"))
    mark = original / source.MARK
    repo = _json(mark).get("repo", original.name)
    weights = {
        name: {"bytes": size, "modified_ns": modified, "sha256": _sha256(original / name)}
        for name, (size, modified) in fingerprints(original).items()
    }
    facts |= {
        "source": repo,
        "command": said[at + 1 :],
        "seconds": int(facts["seconds"]),
        "keep_original": facts["keep_original"] == "1",
        "register": facts["register"] == "1",
        "versions": _versions(environment),
        "converted_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "bytes": sum(file.stat().st_size for file in Path(folder).iterdir() if file.is_file()),
        "original_bytes": sum(size for size, _ in fingerprints(original).values()),
        "weights": weights,
    }
    _replace(Path(folder) / FILE, facts)


def _versions(environment: Path) -> dict[str, str | None]:
    from importlib.metadata import distributions  # takes longer than all the rest

    site = [str(folder) for folder in environment.glob("lib/python*/site-packages")]
    found = {d.name.lower(): d.version for d in distributions(path=site)}
    return {tool: found.get(tool) for tool in _TOOLS}


def _sha256(file: Path) -> str:
    import hashlib  # takes longer than what most calls do

    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def moving(folder: str, place: str, work: str) -> None:
    """What needs room on the disk is done before the move, so that it can't fail behind it."""
    said = {**_facts(folder), "original": os.path.abspath(place)}
    _replace(Path(work) / _MOVING, {"folder": os.path.abspath(folder), "facts": said})
    _replace(Path(work) / FILE, said)


def settle(work: str) -> None:
    """Nothing, where no move was begun, or not one that came to its end."""
    said = _json(Path(work) / _MOVING)
    facts, file = said.get("facts", {}), Path(work) / FILE
    folder = Path(said.get("folder", ""))
    was = _facts(str(folder)).get("original")
    if was and file.is_file() and os.path.isdir(facts["original"]) and not os.path.exists(was):
        os.replace(file, folder / FILE)


def adopt(folder: str, name: str) -> None:
    file = Path(folder) / FILE
    _replace(file, {**_json(file), "name": name, "register": True})


def made(folder: str) -> None:
    if said := _said(_facts(folder)):
        _say(*said)


def original(folder: str) -> None:
    _say(_facts(folder).get("original", ""))


def name(folder: str) -> None:
    _say(_facts(folder).get("name", ""))


def _facts(folder: str) -> dict[str, Any]:
    """What was written down; nothing of a folder that no conversion made."""
    return _json(Path(folder) / FILE)


def _json(file: Path) -> dict[str, Any]:
    """An object; empty where there is none. Names may be of any bytes."""
    try:
        if not file.is_file() or file.stat().st_size > _MOST:
            return {}
        facts = json.loads(file.read_text("utf-8", "surrogateescape"))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _replace(file: Path, facts: dict[str, Any]) -> None:
    part = file.with_name(f".{file.name}.part")
    try:
        with open(part, "w", encoding="utf-8", errors="surrogateescape") as content:
            json.dump(facts, content, indent=2, ensure_ascii=False)
            content.write("\n")
            content.flush()
            os.fsync(content.fileno())
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def _say(*facts: object) -> None:
    ending.say("\t".join(map(str, facts)) + "\n")


COMMANDS = {
    "find": find,
    "write": write,
    "made": made,
    "moving": moving,
    "settle": settle,
    "adopt": adopt,
    "original": original,
    "name": name,
}


def main(command: str, *words: str) -> None:
    try:
        COMMANDS[command](*words)
    except OSError as error:
        _say(error.strerror)
        sys.exit(ending.REFUSED)


if __name__ == "__main__":
    ending.to_the_end(main)
