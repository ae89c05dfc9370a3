"""A systemd environment file, as systemd.exec(5) has it. Standard library.

`envfile.py FILE` prints NAME=VALUE for each variable, and '#' and a complaint for each line that
systemd would ignore, with null characters between.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_QUOTED = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)|([^\\'"]+)|(.)""", re.DOTALL)


def records(text: str) -> Iterator[str]:
    found: dict[str, str] = {}
    lines = iter(enumerate(text.split("\n"), 1))
    for number, line in lines:
        if not line.strip() or line.strip()[0] in "#;":
            continue
        whole = line
        while whole.endswith("\\") and (more := next(lines, None)):
            whole = whole[:-1] + more[1]
        name, equals, value = whole.partition("=")
        if equals and re.fullmatch(r"[A-Za-z_]\w*", name.strip(), re.ASCII):
            found[name.strip()] = _plain(value.strip())
        else:
            yield f"#line {number} is not of the form NAME=value: {line.strip()[:60]}"
    yield from (f"{name}={value}" for name, value in found.items())


def _plain(value: str) -> str:
    """A value without its quotes; white space between words stays."""
    parts = []
    for single, double, escaped, bare, other in _QUOTED.findall(value):
        parts.append(single or re.sub(r'\\(["\\$`])', r"\1", double) or escaped or bare or other)
    return "".join(parts)


if __name__ == "__main__":
    for record in records(Path(sys.argv[1]).read_text("utf-8", "replace")):
        print(record.replace("\0", ""), end="\0")
