"""Cookies, headers, where a sign-in may lead, and who may send a change."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.web.rules import SHELL, RequestFacts, Site, local_path, request_fault, site_url

LOCAL = Site("dice", "http://127.0.0.1:8760", frozenset({"127.0.0.1"}), "http://127.0.0.1:9000")
PUBLIC = Site("dice", "https://bot.example", frozenset({"bot.example"}), "https://discord.com")


def fault(
    site: Site,
    method: str = "POST",
    *,
    path: str = "/api/sign-out",
    host: str | None = None,
    origin: str | None = None,
    fetch_site: str = "",
) -> int | None:
    hosts = [urlsplit(site.url).netloc if host is None else host]
    origins = [] if origin is None else [origin]
    found = request_fault(site, RequestFacts(method, path, hosts, origins, fetch_site))
    return None if found is None else found[0]


def test_cookie_on_https_is_bound_to_the_host() -> None:
    assert (PUBLIC.session_cookie, PUBLIC.sign_in_cookie) == ("__Host-botctl-dice", "__Host-botctl-dice-sign-in")


def test_cookie_on_loopback_names_the_bot_since_ports_share_cookies() -> None:
    assert (LOCAL.session_cookie, LOCAL.sign_in_cookie) == ("botctl-dice-session", "botctl-dice-sign-in")


def test_redirect_uri_is_exact() -> None:
    assert PUBLIC.redirect_uri == "https://bot.example/auth/callback"


def test_headers_let_nothing_in_from_outside() -> None:
    headers = PUBLIC.headers("wss://bot.example/realtime")
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self' wss://bot.example"
    assert policy["form-action"] == "'self' https://discord.com"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    other_port = Site("dice", "https://bot.example:8760", PUBLIC.hosts, PUBLIC.discord)
    assert "Strict-Transport-Security" not in other_port.headers(None), "http on that host may be someone else's"
    assert "Strict-Transport-Security" not in LOCAL.headers(None)
    assert "connect-src 'self';" in LOCAL.headers(None)["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Bot.Example", "https://bot.example"),
        ("https://bot.example:443", "https://bot.example"),
        ("https://bot.example:8760", "https://bot.example:8760"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8760", "http://[::1]:8760"),
    ],
)
def test_address_is_written_as_browsers_write_an_origin(url: str, origin: str) -> None:
    assert site_url(url) == origin


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs?name=a&b=c", "/audit/2026-01-01", "/#/jobs", "/a%20b"])
def test_path_of_the_page_is_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "jobs",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/%5cevil\\",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\r\nSet-Cookie: a=b",
        "/a//evil.example",
        "/../..//evil.example",
        "/auth/login",
        "/é",
        "/ //evil.example",
        "/" + "a" * 600,
    ],
)
def test_path_elsewhere_leads_to_the_page(text: str | None) -> None:
    assert local_path(text) == SHELL


@given(st.text(max_size=60) | st.from_regex(r"\A[/\\.a-z@:?#]{0,12}\Z"))
def test_any_text_leads_to_this_site(text: str) -> None:
    target = urljoin("https://bot.example/auth/callback", local_path(text).replace("\\", "/"))
    assert target.startswith("https://bot.example/")
    assert local_path(text).isprintable()


@pytest.mark.parametrize("site", [LOCAL, PUBLIC])
def test_change_by_a_page_of_the_site_is_let_in(site: Site) -> None:
    assert fault(site, origin=site.url) is None
    assert fault(site, origin=site.url, fetch_site="same-origin") is None


@pytest.mark.parametrize(
    "origin", [None, "null", "", "https://evil.example", "http://bot.example", "https://bot.example.evil.example"]
)
def test_change_by_another_page_is_refused(origin: str | None) -> None:
    assert fault(PUBLIC, origin=origin) == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9000", "http://localhost:8760", "https://127.0.0.1:8760"])
def test_another_port_of_loopback_is_another_page(origin: str) -> None:
    assert fault(LOCAL, origin=origin) == 403


def test_change_that_the_browser_calls_cross_site_is_refused() -> None:
    for fetch_site in ("cross-site", "same-site", "none"):
        assert fault(PUBLIC, origin=PUBLIC.url, fetch_site=fetch_site) == 403


def test_two_origins_are_refused() -> None:
    facts = RequestFacts("POST", "/api/sign-out", ["bot.example"], [PUBLIC.url, PUBLIC.url], "")
    assert request_fault(PUBLIC, facts) is not None


def test_read_of_the_api_by_another_page_is_refused_and_a_link_to_the_page_is_not() -> None:
    assert fault(PUBLIC, "GET", path="/api/me", fetch_site="cross-site") == 403
    assert fault(PUBLIC, "GET", path="/api/me", fetch_site="same-origin") is None
    assert fault(PUBLIC, "GET", path="/", fetch_site="cross-site") is None
    assert fault(PUBLIC, "GET", path="/auth/callback", fetch_site="cross-site") is None


@pytest.mark.parametrize("host", ["evil.example", "bot.example.evil.example", "a b", ""])
def test_another_host_name_is_misdirected(host: str) -> None:
    """It may resolve to this server: DNS rebinding."""
    assert fault(PUBLIC, "GET", path="/api/me", host=host) == 421
    assert fault(PUBLIC, host=host, origin=f"https://{host}") == 421
