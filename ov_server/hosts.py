"""Host and Origin headers: what they name, and which names are this machine's (pure)."""

import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

_AUTHORITY = re.compile(
    r"(?:\[(?P<six>[0-9a-f:.]+)(?:%[\w.-]+)?\]|(?P<name>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?)"
    r"(?::(?P<port>[0-9]{0,5}))?",
    re.ASCII,
)
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)", re.DOTALL)
_USUAL = {"http": 80, "https": 443}

_LOCAL = (".localhost", ".local", ".lan", ".home", ".home.arpa", ".internal", ".ts.net")
"""Ends of names that public DNS gives to nobody who could point them here: reserved ones (RFC 6761,
6762, 8375, ICANN for .internal), ones that no registry sells, and Tailscale's, which it fills."""


class Authority(NamedTuple):
    """A host in lower case, without a dot at its end, an address in its shortest form; and the
    port, where there is one."""

    name: str
    port: int | None


def authority(text: str) -> Authority | None:
    """What a Host header names; None when it is none that a client could mean."""
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    name = found["six"] or found["name"]
    address = _address(name)
    if found["six"] and address is None:
        return None
    return Authority(str(address or name), port)


def split_origin(text: str) -> tuple[str, Authority] | None:
    """The scheme and the rest of an origin; None for `null` and what is none."""
    found = _ORIGIN.fullmatch(text.lower())
    host = authority(found[2]) if found else None
    return (found[1], host) if found and host else None


def is_allowed(name: str, allowed: Sequence[str] | None) -> bool:
    """Whether a name may be this machine's. Without a list: addresses and names that nobody can
    point here by public DNS. With one: those in it, and this machine's names for itself."""
    address = _address(name)
    if allowed is None:
        return address is not None or "." not in name or name.endswith(_LOCAL)
    if name == "localhost" or name.endswith(".localhost") or (address and address.is_loopback):
        return True
    return name in allowed or any(one[0] == "." and name.endswith(one) for one in allowed)


def read_hosts(text: str) -> tuple[str, ...]:
    """OV_ALLOWED_HOSTS: names and addresses between commas. Raises ValueError."""
    return tuple(_read_host(one.strip()) for one in text.split(","))


def _read_host(said: str) -> str:
    if "*" in said:
        raise ValueError(f"'{said}': any web page could then use the server; write .example.com")
    if (six := _address(said)) is not None:
        return str(six)
    host = authority(said.removeprefix("."))
    if host is None or host.port is not None or ":" in said.split("]")[-1]:
        raise ValueError(f"'{said}' is no host: write names or addresses, without scheme and port")
    return f".{host.name}" if said.startswith(".") else host.name


def read_origins(text: str) -> tuple[str, ...]:
    """OV_CORS_ORIGINS: origins between commas, as browsers write them. Raises ValueError."""
    return tuple(_read_origin(one.strip()) for one in text.split(","))


def _read_origin(said: str) -> str:
    if "*" in said:
        raise ValueError(f"'{said}': * would let any web page in; write out each origin")
    origin = split_origin(said)
    if origin is None:
        raise ValueError(
            f"'{said}' is no origin: write scheme://host or scheme://host:port, without a path "
            "or a slash at its end"
        )
    scheme, (name, port) = origin
    host = f"[{name}]" if ":" in name else name
    return f"{scheme}://{host}" + (f":{port}" if port and port != _USUAL.get(scheme) else "")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
