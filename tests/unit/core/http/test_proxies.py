"""The client's address behind proxies: no header is believed that a client could have written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers

from botctl.core.http.proxies import client_address, has_proxy_headers, is_trusted, parse_networks

PROXIES = parse_networks(["127.0.0.1", "10.0.0.0/8", "::1"])


def address(*pairs: tuple[str, str], peer: str = "127.0.0.1") -> str:
    headers = Headers()
    for name, value in pairs:
        headers[name] = value
    return client_address(peer, headers.get_all, PROXIES)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("192.0.2.7:1234", "192.0.2.7"),
        ("[2001:db8::5]:80, 10.0.0.1", "2001:db8::5"),
        ("2001:db8::5", "2001:db8::5"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", "127.0.0.1"),
        ("unknown", "127.0.0.1"),
        ("192.0.2.7, unknown", "127.0.0.1"),
        ("192.0.2.7,", "127.0.0.1"),
        ("10.0.0.1, 10.0.0.2", "127.0.0.1"),
        ("192.0.2.7; DROP", "127.0.0.1"),
    ],
)
def test_x_forwarded_for_counts_from_the_right(value: str, expected: str) -> None:
    assert address(("X-Forwarded-For", value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=192.0.2.7", "192.0.2.7"),
        ("For=192.0.2.7;proto=http;by=203.0.113.43", "192.0.2.7"),
        ('for="[2001:db8::5]:4711"', "2001:db8::5"),
        ('for=203.0.113.9, for="192.0.2.7:80"', "192.0.2.7"),
        ("for=192.0.2.7, for=10.0.0.1", "192.0.2.7"),
        ("for=_hidden", "127.0.0.1"),
        ("proto=https", "127.0.0.1"),
        ("for=192.0.2.7;for=192.0.2.8", "127.0.0.1"),
        ('for="192.0.2.7', "127.0.0.1"),
    ],
)
def test_forwarded_is_read_as_rfc_7239_says(value: str, expected: str) -> None:
    assert address(("Forwarded", value)) == expected


def test_headers_of_other_peers_are_not_believed() -> None:
    for name, value in (("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=192.0.2.7")):
        assert address((name, value), peer="203.0.113.1") == "203.0.113.1"
        headers = Headers([(name, value)])
        assert client_address("127.0.0.1", headers.get_all, ()) == "127.0.0.1"


def test_contradicting_headers_are_not_believed() -> None:
    assert address(("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=192.0.2.8")) == "127.0.0.1"
    assert address(("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=192.0.2.7")) == "192.0.2.7"


def test_repeated_headers_are_one_list() -> None:
    assert address(("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "192.0.2.7")) == "192.0.2.7"


@given(st.text(alphabet='0123456789.:abcdef[]";,= for', max_size=60), st.sampled_from(["X-Forwarded-For", "Forwarded"]))
def test_what_a_client_prepends_changes_nothing(spoofed: str, name: str) -> None:
    proxy = "192.0.2.7" if name == "X-Forwarded-For" else "for=192.0.2.7"
    assert address((name, spoofed), (name, proxy)) == "192.0.2.7"


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
def test_any_header_gives_an_address(text: str) -> None:
    assert address(("X-Forwarded-For", text), ("Forwarded", text))


def test_trusted_networks_contain_mapped_and_scoped_addresses() -> None:
    assert is_trusted("::ffff:10.1.1.1", PROXIES)
    assert not is_trusted("fe80::1%eth0", PROXIES)
    assert not is_trusted("local", PROXIES)


@pytest.mark.parametrize("name", ["Forwarded", "x-forwarded-for", "X-Forwarded-Proto", "via", "X-Real-IP"])
def test_request_through_a_proxy_is_known_by_its_headers(name: str) -> None:
    assert has_proxy_headers(Headers({name: "x"}))
    assert not has_proxy_headers(Headers({"Host": "x", "Authorization": "y"}))
