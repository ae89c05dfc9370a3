"""Reads a GGUF file's header. Format: github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3."""

import struct
from pathlib import Path
from typing import Any, BinaryIO

_SCALARS = "BbHhIif?"  # types 0 to 7; then string, array, and the three of 8 bytes
_STRING, _ARRAY = 8, 9
_WIDE = {10: "Q", 11: "q", 12: "d"}
_LONGEST = 1 << 26
"""Bytes of one string, or items of one array, above which the file counts as broken."""

_DEEPEST = 4
"""Arrays within arrays above which the file counts as broken."""


def read_metadata(path: Path) -> dict[str, Any]:
    """The header's key-value pairs; arrays (the vocabulary) are left out.

    Raises ValueError when the file is no GGUF file or ends too early, OSError as open() does.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError("it does not begin with 'GGUF'")
        try:
            version, _, pairs = _unpack(file, "IQQ")
            if version not in (2, 3):
                raise ValueError(f"its GGUF version is {version}; 2 and 3 can be read")
            found = ((_string(file), _value(file, _unpack(file, "I")[0])) for _ in range(pairs))
            return {key: value for key, value in found if value is not None}
        except struct.error:
            raise ValueError("it ends in the middle of its header") from None


def _unpack(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    layout = "<" + layout
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _bounded(number: int) -> int:
    if number > _LONGEST:
        raise ValueError("its header is broken")
    return number


def _string(file: BinaryIO) -> str:
    length = _bounded(_unpack(file, "Q")[0])
    text = file.read(length)
    if len(text) < length:
        raise struct.error
    return text.decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int, depth: int = 0) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        item, count = _unpack(file, "IQ")
        if depth > _DEEPEST:
            raise ValueError("its header is broken")
        for _ in range(_bounded(count)):
            _value(file, item, depth + 1)
        return None
    layout = _WIDE.get(kind) or (_SCALARS[kind] if kind < len(_SCALARS) else None)
    if layout is None:
        raise ValueError(f"its header has a value of unknown type {kind}")
    return _unpack(file, layout)[0]
