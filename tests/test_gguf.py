"""The header of a GGUF file: whole, cut off, and garbage."""

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ov_server.gguf import read_metadata

STRING, ARRAY = 8, 9
CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind: int, said: Any) -> bytes:
    if kind == STRING:
        return string(said)
    if kind == ARRAY:
        item, items = said
        return struct.pack("<IQ", item, len(items)) + b"".join(value(item, i) for i in items)
    return struct.pack("<" + CODES[kind], said)


def header(*pairs: tuple[str, int, Any], version: int = 3) -> bytes:
    body = b"".join(string(k) + struct.pack("<I", kind) + value(kind, v) for k, kind, v in pairs)
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(pairs)) + body


EVERY_KIND: list[tuple[str, int, Any]] = [
    ("u8", 0, 200),
    ("i8", 1, -100),
    ("u16", 2, 60_000),
    ("i16", 3, -30_000),
    ("u32", 4, 4_000_000_000),
    ("i32", 5, -2_000_000_000),
    ("f32", 6, 0.5),
    ("bool", 7, True),
    ("tokens", ARRAY, (STRING, ["a", "ü"])),
    ("nested", ARRAY, (ARRAY, [(4, [1, 2]), (4, [])])),
    ("u64", 10, 2**60),
    ("i64", 11, -(2**60)),
    ("f64", 12, 0.25),
    ("general.architecture", STRING, "llämä"),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_every_kind_of_value_is_read_and_arrays_are_left_out(file: Path) -> None:
    file.write_bytes(header(*EVERY_KIND) + b"tensors follow")
    assert read_metadata(file) == {k: v for k, kind, v in EVERY_KIND if kind != ARRAY}


@pytest.mark.parametrize("version", [2, 3])
def test_versions_2_and_3_are_read(file: Path, version: int) -> None:
    file.write_bytes(header(("a", 4, 1), version=version))
    assert read_metadata(file) == {"a": 1}


@pytest.mark.parametrize("version", [0, 1, 4, 0x03000000])
def test_another_version_is_refused_with_its_number(file: Path, version: int) -> None:
    file.write_bytes(header(version=version))
    with pytest.raises(ValueError, match=f"version is {version}"):
        read_metadata(file)


def test_a_file_that_ends_anywhere_in_its_header_is_refused(file: Path) -> None:
    whole = header(*EVERY_KIND)
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"begin|ends|broken"):
            read_metadata(file)


@pytest.mark.parametrize("text", [b"", b"GGU", b"PK\x03\x04", b"FUGG" + bytes(50)])
def test_another_file_is_refused(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    with pytest.raises(ValueError, match="GGUF"):
        read_metadata(file)


def test_an_unknown_kind_of_value_is_refused(file: Path) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a")
    file.write_bytes(head + struct.pack("<I", 13) + bytes(8))
    with pytest.raises(ValueError, match="type 13"):
        read_metadata(file)


def test_lengths_that_no_header_has_are_refused_before_memory_is_taken(file: Path) -> None:
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**62))
    with pytest.raises(ValueError, match="broken"):
        read_metadata(file)


def test_arrays_of_arrays_without_end_are_refused(file: Path) -> None:
    deep = struct.pack("<IQ", ARRAY, 1) * 5000
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a")
    file.write_bytes(head + struct.pack("<I", ARRAY) + deep)
    with pytest.raises(ValueError, match=r"ends|broken|nested"):
        read_metadata(file)


def test_a_file_that_is_not_there_is_an_os_error(file: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_metadata(file)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_but_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "garbage.gguf"
    for head in (b"", b"GGUF" + struct.pack("<I", 3), header(*EVERY_KIND)[:60]):
        file.write_bytes(head + garbage)
        with suppress(ValueError):
            assert isinstance(read_metadata(file), dict)
