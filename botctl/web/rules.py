"""Rules for requests and responses, without I/O: cookies, headers, where a sign-in may lead, who may send a form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from botctl.core.http.origins import host_fault
from botctl.core.processes.listening import in_url

SHELL: Final = "/"
MAX_PATH: Final = 512
_LOCAL_PATH: Final = re.compile(r"/(?:[A-Za-z0-9_~.,:;=&?#%+@!$*-]+/?)*", re.ASCII)
_READS: Final = frozenset({"GET", "HEAD"})
_SAME_SITE: Final = frozenset({"same-origin", "none"})  # none: typed by the person, or a bookmark
_MAX_SHOWN: Final = 100
_USUAL_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Site:
    """Where the page is: its own address in a browser, the bot, and the addresses that it may talk to."""

    bot: str
    url: str  # such as https://bot.example, as from `site_url`
    hosts: frozenset[str]  # names of the server in lower case, beside its address
    discord: str  # the origin of Discord's consent page

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by https."""
        return self.url.startswith("https:")

    @property
    def owns_host(self) -> bool:
        """Whether it has the port of https: on another one, HTTP on this host may be someone else's."""
        return self.secure and urlsplit(self.url).port is None

    @property
    def session_cookie(self) -> str:
        """``__Host-``: the browser takes it by https only, and from no other host. Ports of one host share cookies."""
        return f"__Host-botctl-{self.bot}" if self.secure else f"botctl-{self.bot}-session"

    @property
    def sign_in_cookie(self) -> str:
        """The cookie that binds a sign-in to the browser in which it began."""
        return f"__Host-botctl-{self.bot}-sign-in" if self.secure else f"botctl-{self.bot}-sign-in"

    @property
    def redirect_uri(self) -> str:
        return f"{self.url}/auth/callback"

    def headers(self, realtime: str | None) -> Mapping[str, str]:
        """The headers of every response. ``realtime``: the address of the realtime server, if there is one."""
        connect = f"'self' {_origin(realtime)}" if realtime else "'self'"
        return {
            "Content-Security-Policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                f"connect-src {connect}; form-action 'self' {self.discord}; base-uri 'none'; frame-ancestors 'none'"
            ),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",  # with no-referrer, browsers would send forms with ``Origin: null``
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
            "Server": "botctl",
            **({"Strict-Transport-Security": "max-age=31536000"} if self.owns_host else {}),
        }


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What a request says about where it comes from. Each list has all values of a header."""

    method: str
    path: str
    hosts: Sequence[str]
    origins: Sequence[str]
    fetch_site: str  # Sec-Fetch-Site; empty in old browsers and programs


def request_fault(site: Site, facts: RequestFacts) -> tuple[int, str] | None:
    """Why a request is refused, before it is known who sends it: a status and a sentence. None if it may go on.

    A change must come from a page of this site. So must a read of the API, where the browser says where it comes from.
    """
    if fault := host_fault(facts.hosts, site.hosts, advice="set web.url to its address if it is"):
        return 421, fault
    if facts.method not in _READS:
        return _change_fault(site, facts)
    if facts.path.startswith("/api/") and facts.fetch_site and facts.fetch_site not in _SAME_SITE:
        return 403, "the API is for pages of this site"
    return None


def _change_fault(site: Site, facts: RequestFacts) -> tuple[int, str] | None:
    if facts.fetch_site and facts.fetch_site != "same-origin":
        return 403, "changes come from pages of this site only"
    if len(facts.origins) != 1:
        return 403, "a change needs the header Origin"
    host = facts.hosts[0].lower() if len(facts.hosts) == 1 else ""
    own = {site.url} | ({f"http://{host}"} if host and not site.secure else set())
    if facts.origins[0].lower() not in own:
        return 403, f"pages of {facts.origins[0][:_MAX_SHOWN]!r} may not change anything here"
    return None


def site_url(url: str) -> str:
    """``url`` as browsers write the origin of its pages: in lower case, and without the usual port."""
    parts = urlsplit(url.lower())
    port = "" if parts.port in (None, _USUAL_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{in_url(parts.hostname or '')}{port}"


def local_path(text: str | None) -> str:
    r"""``text`` if it is a path of the page, where a sign-in may lead; else the page itself.

    Not ``//evil.example`` and ``/\evil.example``, which browsers take for other hosts, and not the sign-in itself.
    """
    if text is None or len(text) > MAX_PATH or _LOCAL_PATH.fullmatch(text) is None or ".." in text:
        return SHELL
    return SHELL if text.startswith("/auth/") else text


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
