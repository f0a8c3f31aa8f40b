"""What a rehearsal means, and which settings it runs with."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from botctl.core.config.loading import Loaded
from botctl.core.config.settings import (
    AuthSettings,
    DiscordSettings,
    Intent,
    LogSettings,
    MongoSettings,
    RedisSettings,
    Settings,
    uses_sandbox,
)
from botctl.core.errors import UsageError
from botctl.doctor.finding import Mark
from botctl.doctor.rehearsal import RehearsalEvidence, RehearsedListener, RehearsedRun, assess_rehearsal
from botctl.run.oneshot.rehearsal import rehearse_without
from botctl.run.oneshot.rehearsal_child import rehearsal_settings


def run(listener=None, *, error="", members=4):
    return RehearsedRun(error, {"Cog.on_x": listener} if listener else {}, members)


def heard(count=1, content=0, errors=()):
    return RehearsedListener(["x"], count, content, errors)


def assess(with_intent, without, *, requested=False, withdrawn="", failure=""):
    seen = RehearsalEvidence("members", requested, (), with_intent, withdrawn, without, failure)
    found = assess_rehearsal(seen)
    assert all(finding.mend for finding in found if finding.mark is Mark.FAULT)
    return {finding.sentence: finding.mark for finding in found}


def faults(found):
    return [sentence for sentence, mark in found.items() if mark is Mark.FAULT]


def test_bot_that_needs_no_intent_is_well():
    assert faults(assess(run(heard()), run(heard()))) == []
    assert Mark.UNKNOWN in assess(run(heard()), run(heard())).values()  # what a rehearsal cannot see


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (heard(2), heard(0), "never runs (x)"),
        (heard(2), None, "never runs (x)"),
        (heard(2, 2), heard(2, 0), "without their content"),
        (heard(2), heard(1), "fewer events"),
        (heard(), heard(1, 0, ["KeyError: 5"]), "fails: KeyError: 5"),
    ],
)
def test_listener_that_breaks_is_a_fault(before, after, word):
    (sentence,) = faults(assess(run(before), run(after)))
    assert "Cog.on_x" in sentence
    assert word in sentence


def test_listener_that_failed_before_or_was_not_called_does_not_break():
    assert faults(assess(run(heard(errors=["KeyError: 5"])), run(heard(errors=["KeyError: 5"])))) == []
    found = assess(run(heard(0)), run(heard(0)))
    assert found["not called by the rehearsal: Cog.on_x (x)"] is Mark.UNKNOWN


def test_bot_that_ends_or_does_not_start_is_a_fault():
    found = assess(run(), run(), requested=True, withdrawn="it ended (exit code 78)")
    assert "it ended (exit code 78)" in faults(found)[0]
    assert Mark.UNKNOWN in assess(run(), run(), requested=True).values()
    assert "cog_load failed" in faults(assess(run(), run(error="cog_load failed")))[0]


def test_rehearsal_that_did_not_come_about_is_not_known():
    for found in (assess(run(error="x"), run()), assess(run(), run(), failure="x")):
        assert set(found.values()) == {Mark.UNKNOWN}


def test_fewer_people_are_said_and_are_no_fault():
    assert Mark.UNKNOWN in assess(run(members=4), run(members=1)).values()
    assert any("1 of 4 people" in sentence for sentence in assess(run(members=4), run(members=1)))


async def test_rehearsal_is_for_privileged_intents_only(tmp_path):
    with pytest.raises(UsageError, match="'fame' is no privileged intent"):
        await rehearse_without(Loaded(Settings(), tmp_path, {}, (), Settings), "fame")


def test_settings_of_a_rehearsal_touch_nothing_real():
    settings = Settings(
        profile="production",
        discord=DiscordSettings(
            token=SecretStr("t"), test_guilds=("900000000000000001",), intents=(Intent.DEFAULT, Intent.MEMBERS)
        ),
        redis=RedisSettings(url="redis://db"),
        mongo=MongoSettings(url="mongodb://db", database="live"),
        auth=AuthSettings(secret=SecretStr("s" * 40)),
        logs=LogSettings(folder="/var/log/bot"),
    )
    made = rehearsal_settings(settings, Path("/srv/bot"), intent="members", requested=False)
    assert uses_sandbox(made)
    assert (made.redis.url, made.mongo.url, made.mongo.database, made.auth.secret) == (None, None, None, None)
    assert (made.commands.folder, made.migrate.folder, made.logs.folder) == (
        "/srv/bot/commands",
        "/srv/bot/migrations",
        "logs",
    )
    assert (made.discord.intents, made.discord.test_guilds) == ((Intent.DEFAULT,), ())
    made = rehearsal_settings(settings, Path("/srv/bot"), intent="presences", requested=True)
    assert made.discord.intents == (Intent.DEFAULT, Intent.MEMBERS, Intent.PRESENCES)
