"""``botctl auth sessions`` and ``link``: what is asked of the store, and what a person reads."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from botctl.cli import main
from botctl.cli.auth import sessions as command
from botctl.cli.init.scaffold import create
from botctl.core.config.loading import load
from botctl.core.contracts.sessions import Session, SessionSource
from botctl.core.errors import Unreachable
from botctl.core.processes.runtime import Runtime
from botctl.run.oneshot.sessions import page_url

ANN = "900000000000000101"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMES = {"created_at": NOW, "seen_at": NOW, "expires_at": NOW + timedelta(days=7)}
BY_DISCORD = Session(id="session:1", source=SessionSource.DISCORD, user=ANN, name="A\x1b[31mnn", csrf="hidden", **TIMES)
BY_LINK = Session(id="session:2", source=SessionSource.LINK, role="viewer", made_by="root", **TIMES)


class FakeStore:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.sessions = [BY_DISCORD, BY_LINK]
        self.asked: list[Any] = []

    async def list(self, user: str | None = None) -> Any:
        return [session for session in self.sessions if user in (None, session.user)]

    async def revoke(self, session_id: str, *, reason: str) -> Session | None:
        self.asked.append((session_id, reason))
        return next((session for session in self.sessions if session.id == session_id), None)

    async def revoke_all(self, user: str | None, *, reason: str) -> int:
        self.asked.append((user, reason))
        return 2

    async def create_link(self, role: str, lifetime: timedelta) -> str:
        self.asked.append((role, lifetime))
        return "token"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeStore:
    create(tmp_path / "bot")
    monkeypatch.chdir(tmp_path / "bot")
    fake = FakeStore()

    @asynccontextmanager
    async def opened(_: object) -> AsyncIterator[FakeStore]:
        yield fake

    monkeypatch.setattr(command, "open_sessions", opened)
    monkeypatch.setattr(command, "page_url", lambda _: "https://bot.example")
    return fake


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["botctl", "auth", *words])
    with pytest.raises(SystemExit) as ended:
        main.main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_list_shows_whose_they_are_and_no_secret(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(monkeypatch, capsys, "sessions", "list")
    assert code == 0
    assert "session:1" in out
    assert "viewer, made by root" in out
    assert "\x1b" not in out
    code, out, _ = call(monkeypatch, capsys, "sessions", "list", "--user", ANN, "--json")
    assert [each["id"] for each in json.loads(out)] == ["session:1"]
    assert "hidden" not in out
    store.sessions = []
    code, out, err = call(monkeypatch, capsys, "sessions", "list")
    assert (code, out, "No one is signed in" in err) == (0, "", True)


@pytest.mark.parametrize(
    ("words", "asked", "ended"),
    [
        (("session:1",), ("session:1", "ended at the terminal"), 1),
        (("--user", ANN, "--reason", "left"), (ANN, "left"), 2),
        (("--all",), (None, "ended at the terminal"), 2),
    ],
)
def test_revoke_ends_what_is_named(  # noqa: PLR0917
    store: FakeStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    asked: object,
    ended: int,
) -> None:
    code, out, _ = call(monkeypatch, capsys, "sessions", "revoke", *words)
    links = " Links that were not opened are invalid now." if words == ("--all",) else ""
    assert (code, out) == (0, f"{ended} {'session has' if ended == 1 else 'sessions have'} ended.{links}\n")
    code, out, _ = call(monkeypatch, capsys, "sessions", "revoke", *words, "--json")
    assert (code, json.loads(out)) == (0, {"ended": ended})
    assert store.asked == [asked, asked]


@pytest.mark.parametrize(
    "words", [(), ("session:1", "--all"), ("--user", ANN, "--all"), ("--user", "ann"), ("session:none",)]
)
def test_revoke_of_nothing_or_too_much_is_refused(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, _, err = call(monkeypatch, capsys, "sessions", "revoke", *words)
    assert (code, "→" in err) == (2, True)
    assert store.asked == ([] if words != ("session:none",) else [("session:none", "ended at the terminal")])


def test_link_is_printed_alone_on_stdout(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(monkeypatch, capsys, "link", "--role", "admin", "--expires", "5m")
    assert (code, out) == (0, "https://bot.example/auth/link/token\n")
    assert "once as admin, within 5m" in err
    assert store.asked == [("admin", timedelta(minutes=5))]


def test_address_of_the_page_is_that_of_the_settings_or_of_the_running_one(tmp_path: Path) -> None:
    create(tmp_path)
    loaded = load(tmp_path, None, {}, {})
    with pytest.raises(Unreachable, match="does not run"):
        page_url(loaded)
    Runtime(tmp_path, long_lived=True).publish("web", pid=os.getpid(), address="http://127.0.0.1:1")
    assert page_url(loaded) == "http://127.0.0.1:1"
    assert page_url(load(tmp_path, None, {}, {"web.url": "https://bot.example"})) == "https://bot.example"


@pytest.mark.parametrize("expires", ["2h", "0s", "x"])
def test_link_is_valid_for_minutes(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], expires: str
) -> None:
    assert call(monkeypatch, capsys, "link", "--expires", expires)[0] == 2
    assert store.asked == []
