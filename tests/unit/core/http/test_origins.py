"""Host and Origin: pages of other sites cannot use the server of this machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.http.origins import host_fault, origin_fault

NAMES = frozenset({"bot.example"})
ORIGINS = frozenset({"https://app.example"})


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8750", "[::1]:8750", "localhost", "LOCALHOST:1", "Bot.Example:443", "bot.example."],
)
def test_host_of_the_server_is_allowed(host: str) -> None:
    assert host_fault([host], NAMES) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "bot.example.evil.example", "xbot.example:80"],
)
def test_name_of_another_site_is_refused(host: str) -> None:
    """It may resolve to this server: DNS rebinding."""
    assert "realtime.hosts" in (host_fault([host], NAMES) or "")


@pytest.mark.parametrize(
    "hosts",
    [["a b"], ["user@127.0.0.1"], ["127.0.0.1:x"], [""], ["127.0.0.1", "evil.example"], ["127.0.0.1, evil.example"]],
)
def test_malformed_or_repeated_host_is_refused(hosts: list[str]) -> None:
    assert host_fault(hosts, NAMES)


def test_request_without_host_is_not_of_a_browser() -> None:
    assert host_fault([], NAMES) is None
    assert origin_fault(["http://127.0.0.1"], [], ORIGINS)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "bot.example"),
        ("http://127.0.0.1:8750", "127.0.0.1:8750"),
        ("http://[::1]:8750", "[::1]:8750"),
        ("https://bot.example", "bot.example"),
        ("https://bot.example", "bot.example:443"),
        ("http://BOT.example:80", "bot.example"),
        ("https://app.example", "bot.example"),
    ],
)
def test_own_and_listed_origins_are_allowed(origin: str | None, host: str) -> None:
    assert origin_fault([] if origin is None else [origin], [host], ORIGINS) is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("null", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("http://evil.example", "127.0.0.1"),
        ("http://127.0.0.1:9999", "127.0.0.1:8750"),
        ("http://localhost:8750", "127.0.0.1:8750"),
        ("https://bot.example:8443", "bot.example"),
        ("https://bot.example.evil.example", "bot.example"),
        ("https://app.example.evil.example", "bot.example"),
        ("file://127.0.0.1", "127.0.0.1"),
        ("http://127.0.0.1@evil.example", "127.0.0.1"),
    ],
)
def test_other_origins_are_refused(origin: str, host: str) -> None:
    assert "realtime.origins" in (origin_fault([origin], [host], ORIGINS) or "")


def test_repeated_origin_is_refused() -> None:
    assert origin_fault(["https://app.example", "https://app.example"], ["bot.example"], ORIGINS)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=40), st.text(max_size=40))
def test_any_header_is_decided(host: str, origin: str) -> None:
    host_fault([host], NAMES)
    origin_fault([origin], [host], ORIGINS)
