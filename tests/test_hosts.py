"""Host and Origin headers, and the lists of those that are taken."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ov_server.hosts import authority, is_allowed, read_hosts, read_origins, split_origin


@pytest.mark.parametrize(
    ("header", "name", "port"),
    [
        ("mini", "mini", None),
        ("Mini.LAN.:9000", "mini.lan", 9000),
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("[::1]", "::1", None),
        ("[0:0::1]:9000", "::1", 9000),
        ("[fe80::1%eth0]:9000", "fe80::1", 9000),
        ("mini:", "mini", None),
    ],
)
def test_a_host_is_a_name_and_a_port(header: str, name: str, port: int | None) -> None:
    assert authority(header) == (name, port)


@pytest.mark.parametrize(
    "header",
    [
        "",
        ".",
        "a..b",
        ".local",
        "a b",
        "a/b",
        "me@mini",
        "::1",
        "[::1",
        "[evil.com]",
        "a:b",
        "a:1:2",
        "mini\n",
        "mïni",
        "http://mini",
        "mini:999999",
        "[::1]x",
        "[]",
    ],
)
def test_what_is_no_host_is_none(header: str) -> None:
    assert authority(header) is None


@given(st.ip_addresses(), st.none() | st.integers(1, 65535))
def test_every_address_is_read_back_and_allowed(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int | None
) -> None:
    shown = f"[{address}]" if address.version == 6 else str(address)
    found = authority(shown if port is None else f"{shown}:{port}")
    assert found is not None
    assert ipaddress.ip_address(found.name) == address
    assert found.port == port
    assert is_allowed(found.name, None)
    assert is_allowed(found.name, ()) == address.is_loopback


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9.:\[\]@%-]{0,30}", fullmatch=True))
def test_any_text_is_a_host_or_none(text: str) -> None:
    found = authority(text)
    if found is not None:
        assert found.name == found.name.lower()
        assert not found.name.endswith(".")
        assert authority(f"[{found.name}]" if ":" in found.name else found.name) is not None


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("mini", True),
        ("localhost", True),
        ("a.localhost", True),
        ("mini.local", True),
        ("mini.lan", True),
        ("mini.home", True),
        ("mini.home.arpa", True),
        ("host.docker.internal", True),
        ("mini.tail1234.ts.net", True),
        ("192.168.1.5", True),
        ("203.0.113.7", True),
        ("evil.com", False),
        ("local.evil.com", False),
        ("evillocal.com", False),
        ("127.0.0.1.nip.io", False),
        ("ts.net.evil.com", False),
        ("evilts.net", False),
        ("home.arpa.evil.com", False),
        ("256.0.0.1", False),
    ],
)
def test_without_a_list_only_names_that_nobody_can_point_here(name: str, allowed: bool) -> None:
    assert is_allowed(name, None) == allowed


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("llm.example.com", True),
        ("a.house.example", True),
        ("a.b.house.example", True),
        ("house.example", False),
        ("evilhouse.example", False),
        ("192.168.1.5", True),
        ("192.168.1.6", False),
        ("fd00::5", True),
        ("mini", False),
        ("mini.local", False),
        ("localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
    ],
)
def test_with_a_list_those_and_the_machines_names_for_itself(name: str, allowed: bool) -> None:
    hosts = read_hosts("LLM.example.com., .house.example,192.168.1.5,[fd00::5]")
    assert is_allowed(name, hosts) == allowed


@pytest.mark.parametrize(
    "text", ["*", "*.example.com", "a,", ",", "http://a", "a:80", "a/b", "[::1]:80", "mini:", "a b"]
)
def test_a_list_of_hosts_with_a_mistake_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        read_hosts(text)


def test_origins_are_kept_as_browsers_write_them() -> None:
    text = "HTTPS://Chat.example:443, http://mini:3000,http://a:80,http://[::1]:5,app://obsidian.md"
    assert read_origins(text) == (
        "https://chat.example",
        "http://mini:3000",
        "http://a",
        "http://[::1]:5",
        "app://obsidian.md",
    )


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "https://*.example.com",
        "https://a/",
        "https://a/b",
        "a.example",
        "null",
        "",
        "https://",
        "https://a,",
        "https://a?b",
        "https://me@a",
    ],
)
def test_a_list_of_origins_with_a_mistake_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        read_origins(text)


@pytest.mark.parametrize("origin", ["null", "", "mini", "http://", "http://a/b", "://a"])
def test_what_is_no_origin_is_none(origin: str) -> None:
    assert split_origin(origin) is None
