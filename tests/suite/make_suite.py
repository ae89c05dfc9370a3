"""Gathers schemas of the JSON Schema Test Suite, with their instances, in one JSON file.

    python make_suite.py CHECKOUT [--optional] > suite.json

One schema a line, in the order of the suite. What the suite calls optional is left out, or with
`--optional` is all there is.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DRAFTS = ("draft7", "draft2020-12")


def files(folder: Path, *, optional: bool) -> list[Path]:
    return sorted((folder / "optional").rglob("*.json") if optional else folder.glob("*.json"))


def groups(checkout: Path, *, optional: bool) -> Iterator[dict[str, Any]]:
    """A schema and its instances at a time; each schema is word for word that of the suite."""
    for draft in DRAFTS:
        folder = checkout / "tests" / draft
        for path in files(folder, optional=optional):
            for group in json.loads(path.read_text("utf-8")):
                yield {
                    "draft": draft,
                    "file": path.relative_to(folder).as_posix(),
                    "description": group["description"],
                    "schema": group["schema"],
                    "valid": [test["data"] for test in group["tests"] if test["valid"]],
                    "invalid": [test["data"] for test in group["tests"] if not test["valid"]],
                }


def line(group: dict[str, Any]) -> str:
    """Half a pair of surrogates is no UTF-8: a group that has one is written in ASCII."""
    text = json.dumps(group, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(group, separators=(",", ":"), allow_nan=False)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the suite to standard output.")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--optional", action="store_true", help="just what the suite calls so")
    said = parser.parse_args()
    lines = map(line, groups(said.checkout, optional=said.optional))
    sys.stdout.buffer.write(("[\n" + ",\n".join(lines) + "\n]\n").encode())


if __name__ == "__main__":
    main()
