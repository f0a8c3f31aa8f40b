"""`botctl run --only web`, `botctl auth link` and `botctl auth sessions`, as processes."""

from __future__ import annotations

import re
import signal
import socket
import uuid
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest

from botctl.core.processes.runtime import Runtime
from tests.support.cli import STARTED_ONLY, Project
from tests.support.waiting import LIMIT_S


@pytest.fixture
def project(tmp_path: Path, mongo_server: str, redis_server: str) -> Project:
    """A bot with the stores of all tests, which need no start of their own."""
    name = f"web-{uuid.uuid4().hex[:8]}"
    env = {
        "BOTCTL_BOT": name,
        "BOTCTL_MONGO__URL": mongo_server,
        "BOTCTL_MONGO__DATABASE": name,
        "BOTCTL_REDIS__URL": redis_server,
        "BOTCTL_AUTH__SECRET": "a secret of all processes of the bot",
    }
    return Project(tmp_path / "bot", env)


def status_of(browser: OpenerDirector, url: str, *, origin: str = "", post: bool = False) -> int:
    request = Request(url, data=b"" if post else None, headers={"Origin": origin} if origin else {})
    try:
        with browser.open(request, timeout=LIMIT_S) as reply:
            return int(reply.status)
    except HTTPError as error:
        return error.code


def test_link_opens_a_session_which_the_operator_ends(project: Project) -> None:
    with project.process("run", "--only", "web", until=STARTED_ONLY.lower()) as server:
        url = Runtime(project.root).live()["web"].address
        assert f"web page  {url}" in server.output
        assert re.search(rf"  {re.escape(url)} +open the web page in a browser\n", server.output)
        made = project.call("auth", "link", "--role", "operator", "--json").json["url"]
        assert made.startswith(f"{url}/auth/link/")
        browser = build_opener(HTTPCookieProcessor(CookieJar()))
        assert status_of(browser, f"{url}/api/me") == 401
        assert status_of(browser, made, origin=url, post=True) == 200, "the page to which it leads"
        assert status_of(browser, f"{url}/api/me") == 200
        (session,) = project.call("auth", "sessions", "list", "--json").json
        assert (session["source"], session["role"], session["user"]) == ("link", "operator", "")
        ended = project.call("auth", "sessions", "revoke", session["id"], "--reason", "shift is over")
        assert ended.out == "1 session has ended.\n"
        assert status_of(browser, f"{url}/api/me") == 401
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit() == 143
    assert "web" not in project.parts()
    for call in ("url", "link"):
        assert "Start the bot: `botctl run`." in project.call("auth", call).err


def test_page_stays_at_its_address_unless_another_program_has_it(project: Project) -> None:
    def address() -> str:
        with project.process("run", "--only", "web", until=STARTED_ONLY.lower()) as server:
            url = Runtime(project.root).live()["web"].address
            assert status_of(build_opener(), f"{url}/api/me") == 401
            server.signal(signal.SIGKILL)
            server.wait_for_exit()
        return url

    first = address()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the first may linger
        other.bind(("127.0.0.1", urlsplit(first).port or 0))
        other.listen()
        second = address()
    assert second != first
    assert address() == second  # although the first one is free again
