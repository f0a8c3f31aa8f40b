"""The token, the clock and the logins, from answers of Discord."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from botctl.doctor.discord import (
    application_flags,
    application_id,
    assess_discord_clock,
    assess_logins,
    assess_token,
    clock_evidence,
)
from botctl.doctor.discord_api import DiscordAnswer
from botctl.doctor.finding import Mark

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ME = DiscordAnswer(200, {"id": "1", "username": "dice"})


def token(answer):
    return assess_token(answer, sandbox=False)


def test_token_is_known():
    assert token(ME).mark is Mark.OK
    assert "dice (1)" in token(ME).sentence
    assert "no token is set" in assess_token(ME, sandbox=True).sentence


@pytest.mark.parametrize(
    ("answer", "mark", "word"),
    [
        (DiscordAnswer(401, {"message": "401: Unauthorized"}), Mark.FAULT, "dead"),
        (DiscordAnswer(None, error="ClientConnectorError: no route"), Mark.FAULT, "cannot be reached: ClientConn"),
        (DiscordAnswer(429, None), Mark.FAULT, "banned"),
        (DiscordAnswer(403, None), Mark.FAULT, "banned"),
        (DiscordAnswer(429, {"retry_after": 3.0}, retry_after_s=3.0), Mark.UNKNOWN, "wait 3 s"),
        (DiscordAnswer(503, None), Mark.UNKNOWN, "itself fails (503)"),
        (DiscordAnswer(200, None), Mark.UNKNOWN, "answered 200"),
        (DiscordAnswer(404, {}), Mark.UNKNOWN, "answered 404"),
    ],
)
def test_token_that_is_not_well_or_not_known(answer, mark, word):
    assert token(answer).mark is mark
    assert word in token(answer).sentence
    assert bool(token(answer).mend) == (mark is Mark.FAULT) or mark is Mark.UNKNOWN


def dated(ahead_s, took_s=0.2):
    """An answer of a Discord at `NOW`, as a machine sees it whose clock is ahead."""
    sent_s = NOW.timestamp() + ahead_s
    return DiscordAnswer(200, {}, format_datetime(NOW, usegmt=True), sent_s, sent_s + took_s)


@pytest.mark.parametrize(("ahead_s", "mark"), [(0, Mark.OK), (-3, Mark.OK), (60, Mark.FAULT), (-60, Mark.FAULT)])
def test_clock(ahead_s, mark):
    assert assess_discord_clock(dated(ahead_s), sandbox=False).mark is mark
    assert assess_discord_clock(dated(ahead_s), sandbox=True).mark is Mark.UNKNOWN


def test_clock_without_a_date_is_not_known():
    assert assess_discord_clock(DiscordAnswer(200, {}), sandbox=False).mark is Mark.UNKNOWN
    assert clock_evidence(DiscordAnswer(200, {}, "yesterday")) is None


def logins(remaining=900, recommended=1, shards=None, **changes):
    limit = {"total": 1000, "remaining": remaining, "reset_after": 3_600_000, "max_concurrency": 1}
    answer = DiscordAnswer(200, {"shards": recommended, "session_start_limit": limit, **changes})
    return assess_logins(answer, shards=shards, now=NOW, sandbox=False)


def test_logins():
    budget, shards = logins()
    assert (budget.mark, shards.mark) == (Mark.OK, Mark.OK)
    assert budget.sentence == "900 of 1000 logins left until 2026-11-30 13:00 UTC"


@pytest.mark.parametrize(("remaining", "shards"), [(0, None), (99, None), (150, 160)])
def test_few_logins_are_a_fault(remaining, shards):
    budget = logins(remaining, recommended=2, shards=shards)[0]
    assert budget.mark is Mark.FAULT
    assert budget.mend


@pytest.mark.parametrize(
    ("recommended", "shards", "mark"), [(2, None, Mark.OK), (3, None, Mark.FAULT), (3, 2, Mark.OK)]
)
def test_shards_are_enough_before_discord_closes_one(recommended, shards, mark):
    assert logins(recommended=recommended, shards=shards)[1].mark is mark


def test_logins_that_discord_does_not_tell_are_not_known():
    assert logins(session_start_limit=None)[0].mark is Mark.UNKNOWN
    dead = assess_logins(DiscordAnswer(401, {}), shards=None, now=NOW, sandbox=False)
    assert [finding.mark for finding in dead] == [Mark.FAULT]


def test_flags_of_the_application():
    assert application_flags(DiscordAnswer(200, {"flags": 4096})) == 4096
    assert application_flags(DiscordAnswer(200, {"flags": 0, "flags_new": str(1 << 40)})) == 1 << 40
    assert application_flags(DiscordAnswer(401, {})) is None
    assert application_id(DiscordAnswer(200, {"id": 5})) == "5"
    assert application_id(DiscordAnswer(401, {"id": 5})) is None
    assert application_flags(DiscordAnswer(200, {"flags": "many"})) is None
