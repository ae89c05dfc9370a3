"""Reads a GGUF file's header, and tells whether the file is as long as that says. Standard library;
`python -m ov_server.gguf FILE` prints what is wrong with it and exits with 1.
Format: github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3.
"""

import math
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

_SCALARS = "BbHhIif?"  # types 0 to 7; then string, array, and the three of 8 bytes
_STRING, _ARRAY = 8, 9
_WIDE = {10: "Q", 11: "q", 12: "d"}
_LONGEST = 1 << 26
"""Bytes of one string, or items of one array, above which the file counts as broken."""

_DEEPEST = 4
"""Arrays within arrays above which the file counts as broken."""

_DIMENSIONS = 4
_ALIGNMENT = 32
_BLOCKS = {
    1: {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2},
    32: {2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 9: 36, 20: 18, 39: 17},
    256: {10: 84, 11: 110, 12: 144, 13: 176, 14: 210, 15: 292, 16: 66, 17: 74, 18: 98, 19: 50}
    | {21: 110, 22: 82, 23: 136, 29: 56, 34: 54, 35: 66},
}
"""By the numbers in a block: its bytes, by the type of a tensor. ggml.h and ggml-common.h."""


def read_metadata(path: Path) -> dict[str, Any]:
    """The header's key-value pairs; arrays (the vocabulary) are left out.

    Raises ValueError when the file is no GGUF file or ends too early, also when that is behind its
    header, and OSError as open() does.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError("it does not begin with 'GGUF'")
        try:
            version, tensors, pairs = _unpack(file, "IQQ")
            if version not in (2, 3):
                raise ValueError(f"its GGUF version is {version}; 2 and 3 can be read")
            found = ((_string(file), _value(file, _unpack(file, "I")[0])) for _ in range(pairs))
            metadata = {key: value for key, value in found if value is not None}
            end = max((_tensor_end(file) for _ in range(tensors)), default=0)
        except struct.error:
            raise ValueError("it ends in the middle of its header") from None
        if end:
            alignment = _alignment(metadata)
            least = -(-file.tell() // alignment) * alignment + end
            size = path.stat().st_size
            if size < least:
                raise ValueError(f"it is cut short: {size} of {least} bytes")
        return metadata


def _tensor_end(file: BinaryIO) -> int:
    """Bytes from the first tensor's beginning to this one's end: to its beginning, where its type
    is unknown."""
    _string(file)
    (dimensions,) = _unpack(file, "I")
    if dimensions > _DIMENSIONS:
        raise ValueError("its header is broken")
    *shape, kind, offset = _unpack(file, f"{dimensions}QIQ")
    sizes = ((block, known[kind]) for block, known in _BLOCKS.items() if kind in known)
    block, size = next(sizes, (1, 0))
    return offset + math.prod(shape) // block * size


def _alignment(metadata: dict[str, Any]) -> int:
    said = metadata.get("general.alignment")
    return said if isinstance(said, int) and said > 0 else _ALIGNMENT


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


def main(path: str) -> None:
    try:
        read_metadata(Path(path))
    except ValueError as error:
        wrong = f"{error}. Download it again."
    except OSError as error:
        wrong = f"it can't be read: {error.strerror}."
    else:
        return
    sys.stdout.write(f"{wrong}\n")
    sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
