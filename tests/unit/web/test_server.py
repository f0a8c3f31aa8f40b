"""What the web server makes of the settings: addresses, the application at Discord, lifetimes."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from botctl.core.config.settings import AuthSettings, RealtimeSettings, Settings, WebSettings
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.processes.runtime import Runtime
from botctl.web.rules import Site
from botctl.web.server import _application, _hosts, _lifetimes, realtime_address
from botctl.web.static_files import load_static_files
from tests.support.clock import ManualClock

SITE = Site("bot", "https://bot.example", frozenset(), "https://discord.com")
ID, SECRET = "100000000000000001", SecretStr("from the portal")


def realtime(tmp_path: Path, web: dict[str, Any], **options: Any) -> str | None:
    settings = Settings(web=WebSettings(**web), realtime=RealtimeSettings(**options))
    runtime = Runtime(tmp_path, long_lived=True)
    runtime.publish("realtime", pid=os.getpid(), address="ws://127.0.0.1:5/realtime")
    return realtime_address(settings, runtime, ManualClock())()


def test_realtime_server_is_on_this_machine_behind_the_proxy_or_on_its_own_port(tmp_path: Path) -> None:
    (tmp_path / ".botctl").mkdir()
    assert realtime(tmp_path, {}) == "ws://127.0.0.1:5/realtime"
    assert realtime(tmp_path, {"url": "http://localhost:8760"}) == "ws://127.0.0.1:5/realtime"
    public = {"url": "https://bot.example:8760"}
    assert realtime(tmp_path, public, port=8750) == "wss://bot.example:8760/realtime"
    assert realtime(tmp_path, public, port=8750, tls_cert="cert.pem") == "wss://bot.example:8750/realtime"


def test_part_that_ends_is_noticed(tmp_path: Path) -> None:
    (tmp_path / ".botctl").mkdir()
    runtime, clock = Runtime(tmp_path, long_lived=True), ManualClock()
    address = realtime_address(Settings(), runtime, clock)
    assert address() is None
    runtime.publish("realtime", pid=os.getpid(), address="ws://127.0.0.1:5/realtime")
    assert address() is None
    clock.advance(1)
    assert address() == "ws://127.0.0.1:5/realtime"


def test_application_is_that_of_the_settings_or_of_the_sandbox() -> None:
    set_up = Settings(auth=AuthSettings(client_id=ID, client_secret=SECRET))
    real = _application(set_up, DiscordAccess("token"), SITE)
    assert real is not None
    assert (real.client_id, real.client_secret) == (ID, "from the portal")
    assert real.redirect_uri == "https://bot.example/auth/callback"
    assert "from the portal" not in repr(real)
    local = DiscordAccess("token", "http://127.0.0.1:1", client_id="1", client_secret="of the sandbox")
    sandbox = _application(Settings(), local, SITE)
    assert sandbox is not None
    assert (sandbox.client_id, sandbox.client_secret) == ("1", "of the sandbox")
    for auth in (AuthSettings(), AuthSettings(client_id=ID), AuthSettings(client_secret=SECRET)):
        assert _application(Settings(auth=auth), DiscordAccess("token"), SITE) is None


def test_session_of_a_link_is_short() -> None:
    assert _lifetimes(Settings()) == (timedelta(days=7), timedelta(hours=8))
    assert _lifetimes(Settings(auth=AuthSettings(session_s=60))) == (timedelta(minutes=1), timedelta(minutes=1))


def test_server_is_called_as_its_address_and_its_host() -> None:
    assert _hosts(WebSettings(host="0.0.0.0", url="https://Bot.example.:8760")) == {"0.0.0.0", "bot.example"}


def test_files_have_types_that_browsers_run(tmp_path: Path) -> None:
    (tmp_path / "rooms").mkdir()
    for name in ("index.html", "app.css", "rooms/jobs.js", "icon.svg", ".hidden"):
        (tmp_path / name).write_text("x")
    files = load_static_files(tmp_path)
    assert {name: file.content_type for name, file in files.items()} == {
        "index.html": "text/html",
        "app.css": "text/css",
        "rooms/jobs.js": "text/javascript",
        "icon.svg": "image/svg+xml",
    }
    assert len({file.etag for file in files.values()}) == 1


def test_unreadable_list_of_parts_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".botctl").mkdir()
    runtime, clock = Runtime(tmp_path, long_lived=True), ManualClock()
    runtime.publish("realtime", pid=os.getpid(), address="ws://127.0.0.1:5/realtime")
    address = realtime_address(Settings(), runtime, clock)
    assert address() == "ws://127.0.0.1:5/realtime"
    (tmp_path / ".botctl" / "runtime.json").unlink()
    (tmp_path / ".botctl" / "runtime.json").mkdir()
    clock.advance(1)
    assert address() == "ws://127.0.0.1:5/realtime"
