"""What the service of the logins says of itself."""

from __future__ import annotations

from datetime import UTC, datetime

from botctl.core.config.settings import SandboxSettings, Settings
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.logins import SPACING_S, LoginWait
from botctl.core.errors import Unreachable
from botctl.logins.service import LoginNotes, spacing_of
from botctl.logins.token_claim import fingerprint_of
from botctl.sandbox.model.tokens import bot_token

RESETS = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


class FakeTasks:
    """Keeps what the service says of itself."""

    note = ""

    def degraded(self, detail: str) -> None:
        self.note = detail

    def recovered(self) -> None:
        self.note = ""


def test_wait_and_outage_are_both_said() -> None:
    tasks = FakeTasks()
    notes = LoginNotes(tasks)  # type: ignore[arg-type]
    notes.outage(Unreachable("Redis fails"))
    notes.tell(LoginWait(RESETS, "the reserve"))
    assert tasks.note == "waiting for logins until 2026-01-02 03:04:00 UTC: the reserve; Redis fails"
    notes.outage(None)
    assert tasks.note.endswith("the reserve")
    notes.tell(None)
    assert not tasks.note


def test_fingerprint_is_of_the_bot_and_its_discord_and_not_its_token() -> None:
    token, replaced, other = bot_token("one"), bot_token("two"), bot_token("one", "900000000000000099")
    fingerprint = fingerprint_of(DiscordAccess(token))
    assert fingerprint == fingerprint_of(DiscordAccess(replaced)), "a token that replaces it"
    assert fingerprint != fingerprint_of(DiscordAccess(other))
    assert fingerprint != fingerprint_of(DiscordAccess(token, "http://127.0.0.1:1"))
    assert fingerprint_of(DiscordAccess("a.b.c")) != fingerprint_of(DiscordAccess("a.b.d")), "no id in it"
    assert len(fingerprint) == 32
    assert not {part for part in token.split(".") if part in fingerprint}


def test_sandbox_may_ask_for_a_shorter_pause_between_logins() -> None:
    settings = Settings(sandbox=SandboxSettings(limits={"concurrency_s": "0.5"}))
    assert spacing_of(settings, DiscordAccess("t", "http://127.0.0.1:1")) == SPACING_S / 10
    assert spacing_of(settings, DiscordAccess("t")) == SPACING_S
