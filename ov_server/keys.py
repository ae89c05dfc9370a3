"""API keys: their text to keys, and the file that holds them, read again when it changes. Knows no
request; of a key it keeps a digest and a name.
"""

import hmac
import logging
import os
import re
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from . import plainfile

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(r"[!-~]{1,512}")
_OPTIONS = "requests_per_minute=60, concurrent_requests=4 and models=a,b"
_NAMES = "letters, digits and . _ - make a name, at most 64"
_KEYS = "a key is at most 512 letters, digits and signs of ASCII, without white space"
_SHORT = 16
"""Characters; a shorter key can be guessed."""
_LARGEST = 1_000_000
"""Bytes of a file of keys."""
_YOUNG_S = 2
"""Seconds after a write in which another one may leave all of the file's times as they are."""


@dataclass(frozen=True, slots=True)
class Key:
    """Who may use the server, and how much of it; None is no limit."""

    name: str
    digest: bytes = field(repr=False)
    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    models: frozenset[str] | None = None
    """Names or aliases."""
    short: bool = False


def is_path(said: str) -> bool:
    """Whether a value of OV_API_KEYS names a file, and is no list of keys."""
    return said.startswith(("/", "~", "./", "../"))


def read_keys(said: str) -> tuple[Key, ...]:
    """The keys of a value of OV_API_KEYS. Raises ValueError, which shows no key."""
    if not is_path(said):
        return parse_list(said)
    try:
        return parse_lines(_read(Path(said).expanduser())[0])
    except RuntimeError:
        raise ValueError("there is no such home folder") from None
    except OSError as error:
        raise ValueError(f"the file can't be read: {error.strerror}") from None


def parse_list(text: str) -> tuple[Key, ...]:
    """`NAME=KEY,NAME2=KEY2`; a bare KEY is named after its place. Raises ValueError."""
    keys: list[Key] = []
    for number, item in enumerate(text.split(","), 1):
        name, equals, key = item.strip().partition("=")
        where = f"key {number} of the list"
        if not equals:
            name, key = f"key-{number}", name
        if not key.strip("="):
            raise ValueError(f"{where}: write NAME=KEY; a key that holds = needs its name")
        keys.append(_key(where, name, key))
    return _distinct(keys, [f"key {number} of the list" for number in range(1, len(keys) + 1)])


def parse_lines(text: str) -> tuple[Key, ...]:
    """A file's keys, one a line: `NAME KEY [requests_per_minute=60] [concurrent_requests=4]
    [models=a,b]`. Raises ValueError, which names the line and shows no key."""
    keys: list[Key] = []
    places: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        places.append(where := f"line {number}")
        if len(words) < 2:
            raise ValueError(f"{where}: write NAME KEY")
        keys.append(_key(where, words[0], words[1], words[2:]))
    if not keys:
        raise ValueError("it holds no key: write one a line, NAME KEY")
    return _distinct(keys, places)


def _key(where: str, name: str, key: str, options: list[str] | None = None) -> Key:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{where}: this is no name: {_NAMES}")
    if not _KEY.fullmatch(key):
        raise ValueError(f"{where}: this is no key: {_KEYS}")
    numbers: dict[str, int] = {}
    models: frozenset[str] | None = None
    for place, option in enumerate(options or [], 3):
        what, _, value = option.partition("=")
        limit = what in ("requests_per_minute", "concurrent_requests") and what not in numbers
        if limit and re.fullmatch(r"[1-9][0-9]{0,8}", value):
            numbers[what] = int(value)
        elif what == "models" and models is None and all(value.split(",")):
            models = frozenset(value.split(","))
        else:
            raise ValueError(
                f"{where}, word {place}: behind NAME KEY only {_OPTIONS} may stand, once each, "
                "with whole numbers from 1"
            )
    digest = sha256(key.encode()).digest()
    return Key(name, digest, **numbers, models=models, short=len(key) < _SHORT)


def _distinct(keys: list[Key], places: list[str]) -> tuple[Key, ...]:
    names: dict[str, str] = {}
    digests: dict[bytes, str] = {}
    for key, where in zip(keys, places, strict=True):
        if (first := names.setdefault(key.name, where)) != where:
            raise ValueError(f"{where}: the name is that of {first}; give it another one")
        if (first := digests.setdefault(key.digest, where)) != where:
            raise ValueError(f"{where}: the key is that of {first}; give it one of its own")
    return tuple(keys)


def _read(path: Path) -> tuple[str, os.stat_result]:
    """The text and what the same open file says of itself. Raises OSError and ValueError."""
    data, facts = plainfile.read(path, _LARGEST)
    try:
        return data.decode("utf-8-sig"), facts
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None


class Keys:
    """The keys as they are now. Where keys are asked for and none could be read yet, none fits."""

    def __init__(self, said: str | None):
        self._path = Path(said).expanduser() if said and is_path(said) else None
        self._keys = parse_list(said) if said and self._path is None else ()
        self.needed = said is not None
        """Whether nobody gets in without one."""
        self.error: str | None = None
        """Why the file can't be understood now; the keys that it had stay."""
        self._signature: tuple[int, ...] | None = None
        self._warned: set[str] = set()
        self._warn_of_short()

    def refresh(self) -> None:
        """A stat; a read when the file is another one than before."""
        if self._path is not None and (found := self._sign()) != self._signature:
            self._signature = found
            self._reread(self._path)

    def find(self, presented: bytes) -> Key | None:
        """The key that somebody shows. Takes as long for a wrong one as for any."""
        digest = sha256(presented).digest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _reread(self, path: Path) -> None:
        try:
            text, facts = _read(path)
            keys = parse_lines(text)
        except OSError as error:
            self._signature = None  # mended permissions of a folder change no time of the file
            self._keep(f"the file can't be read ({error.strerror})")
        except ValueError as error:
            self._keep(str(error))
        else:
            if time.time() - max(facts.st_mtime, facts.st_ctime) < _YOUNG_S:
                self._signature = None  # the file's clock may be too coarse for the next write
            if facts.st_mode & 0o077:
                self._warn(f"others may use the file of keys {path}: chmod 600 it")
            self._take(keys)

    def _sign(self) -> tuple[int, ...]:
        assert self._path is not None
        try:
            facts = self._path.stat()
        except OSError as error:
            return (error.errno or 0,)
        return facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino, facts.st_dev

    def _keep(self, error: str) -> None:
        if error != self.error:
            log.error("OV_API_KEYS: %s; the keys that it had stay", error)
        self.error = error

    def _take(self, keys: tuple[Key, ...]) -> None:
        if keys != self._keys or self.error:
            log.info("OV_API_KEYS: keys of %s", ", ".join(key.name for key in keys))
        self._keys, self.error = keys, None
        self._warn_of_short()

    def _warn_of_short(self) -> None:
        if short := [key.name for key in self._keys if key.short]:
            names = ", ".join(short)
            self._warn(f"keys that can be guessed, of less than {_SHORT} characters: {names}")

    def _warn(self, said: str) -> None:
        if said not in self._warned:
            self._warned.add(said)
            log.warning("OV_API_KEYS: %s", said)
