"""Interactions that Discord no longer waits for, and such as arrive twice."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from disnake.ext import commands

from botctl.bot.interactions.arrivals import Arrivals
from botctl.bot.interactions.discord_clock import DiscordClock
from botctl.core.contracts.audit_entry import AuditOutcome
from tests.support.offline import Offline, click, interaction, offline, slash, snowflake_at

START_S = 1_780_000_000.0
FORM = {"custom_id": "some:form", "components": []}
PAYLOADS = {
    "command": lambda: slash("one"),
    "component": lambda: click("some:button"),
    "modal": lambda: interaction(5, FORM),
}


class Host:
    """Discord's time, and a host whose clocks show another one."""

    def __init__(self, wrong_s: float = 0.0) -> None:
        self.discord_s = START_S
        self.wrong_s = wrong_s
        self.arrivals = Arrivals(DiscordClock(self.ticks))

    def ticks(self) -> float:
        return self.discord_s + self.wrong_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.ticks(), UTC)

    def monotonic(self) -> float:
        return self.ticks()

    def made(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return ``payload`` as Discord makes it now."""
        return payload | {"id": str(snowflake_at(self.discord_s))}


def answer_everything(rig: Offline, runs: list[str]) -> None:
    async def handle(inter):
        runs.append("run")
        await inter.response.send_message("one")

    rig.bot.slash_command(name="one", description="x")(handle)
    rig.bot.add_listener(handle, "on_button_click")
    rig.bot.add_listener(handle, "on_modal_submit")


@pytest.mark.parametrize("wrong_s", [3600.0, -3600.0])
@pytest.mark.parametrize("kind", PAYLOADS)
async def test_only_what_discord_waits_for_is_handled(kind: str, wrong_s: float, caplog: pytest.LogCaptureFixture):
    """A backlog after 60 s, on a host whose clock is an hour fast or slow."""
    host, runs = Host(wrong_s), []
    with offline(arrivals=host.arrivals, clock=host) as rig:
        answer_everything(rig, runs)
        rig.receive(host.made(PAYLOADS[kind]()))
        await rig.wait_until_idle()
        backlog = []
        for _ in range(60):
            host.discord_s += 1
            backlog.append(host.made(PAYLOADS[kind]()))
        for payload in backlog:
            rig.receive(payload)
        await rig.wait_until_idle()
        assert len(runs) == 1 + 4  # of 0, 1, 2 and 3 s
        assert [e.result for e in rig.finished].count("ok") == 5
        late = [entry for entry in rig.auditor.entries if entry.outcome is AuditOutcome.DENIED]
        assert len(late) == host.arrivals.counts.late == 56
        assert {entry.reason for entry in late} == {"too late: Discord waits 3 s for an answer"}
        assert len(rig.webhooks.answers) == 5  # a dead interaction costs no request
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "is 59.0 s old" in warnings[0].message


async def test_interaction_that_ages_in_the_stores_is_not_handled():
    host, runs = Host(), []
    with offline(arrivals=host.arrivals, clock=host) as rig:
        answer_everything(rig, runs)

        async def check(*_: object) -> Any:
            host.discord_s += 3.1
            return await type(rig.limiter).check(rig.limiter, *_)

        rig.limiter.check = check
        for payload in (slash("one"), click("some:button")):
            rig.receive(host.made(payload))
            await rig.wait_until_idle()
        assert (runs, rig.webhooks.answers, host.arrivals.counts.late) == ([], [], 2)


async def test_acknowledged_interaction_is_handled_at_any_age():
    """A check of the author's may defer before botctl's own check."""
    host, runs = Host(), []

    async def defer_and_wait(inter):
        await inter.response.defer()
        host.discord_s += 60
        return True

    with offline(arrivals=host.arrivals, clock=host) as rig:

        @rig.bot.slash_command(name="one", description="x")
        async def one(inter):
            runs.append("run")
            await inter.edit_original_response("one")

        rig.bot._slash_command_check_once.insert(0, commands.app_check(defer_and_wait).predicate)
        rig.receive(host.made(slash("one")))
        await rig.wait_until_idle()
        assert (runs, [e.result for e in rig.finished]) == (["run"], ["ok"])


async def test_late_and_repeated_suggestions_are_not_asked_for():
    host, asked = Host(), []
    with offline(arrivals=host.arrivals, clock=host) as rig:

        @rig.bot.listen("on_application_command_autocomplete")
        async def asks(inter):
            asked.append(inter.id)

        payload = interaction(4, {"id": "1", "type": 1, "name": "one", "options": []})
        first = host.made(payload)
        host.discord_s += 60
        for delivered in (first, second := host.made(payload), second):
            rig.receive(delivered)
        rig.receive(first | {"id": str(snowflake_at(host.discord_s - 50))})
        await rig.wait_until_idle()
        assert asked == [int(first["id"]), int(second["id"])]
        assert (host.arrivals.counts.late, host.arrivals.counts.repeated) == (1, 1)


@pytest.mark.parametrize("kind", PAYLOADS)
async def test_repetition_after_the_end_is_not_handled(kind: str):
    runs: list[str] = []
    heard = []
    with offline() as rig:
        answer_everything(rig, runs)

        @rig.bot.listen("on_interaction")
        async def hears(inter):
            heard.append(inter.id)

        payload = PAYLOADS[kind]()
        for _ in range(3):
            rig.receive(payload)
            await rig.wait_until_idle()
        assert (len(runs), len(rig.finished), len(rig.auditor.entries), len(heard)) == (1, 1, 1, 1)
        assert rig.bot.pipeline.arrivals.counts.repeated == 2


@pytest.mark.parametrize("kind", PAYLOADS)
async def test_interaction_that_another_process_took_leaves_no_trace(kind: str):
    class Taken:
        async def claim(self, interaction: int) -> bool:
            await asyncio.sleep(0)
            return False

    runs: list[str] = []
    with offline(arrivals=Arrivals(claims=Taken())) as rig:
        answer_everything(rig, runs)
        rig.receive(PAYLOADS[kind]())
        await rig.wait_until_idle()
        assert (runs, rig.events, rig.auditor.entries, rig.webhooks.answers) == ([], [], [], [])


async def test_command_cancelled_while_it_is_claimed_is_answered():
    class Slow:
        async def claim(self, interaction: int) -> bool:
            await asyncio.Event().wait()
            return True

    with offline(arrivals=Arrivals(claims=Slow())) as rig:
        rig.receive(slash("one"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await rig.bot.pipeline.drain(0)
        assert [e.result for e in rig.finished] == ["cancelled"]
        assert "restarting" in rig.webhooks.answers[0][1]


@pytest.mark.looptime
async def test_many_late_interactions_are_two_log_lines(caplog: pytest.LogCaptureFixture):
    host = Host()
    with offline(arrivals=host.arrivals, clock=host) as rig:
        old = [slash("one") | {"id": str(snowflake_at(START_S - n))} for n in range(10, 110)]
        rig.receive(host.made(slash("one")))
        for payload in old:
            rig.receive(payload)
        await rig.wait_until_idle()
        await asyncio.sleep(11)
    lines = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 2
    assert "99 more interactions" in lines[1]
    assert "109.0 s" in lines[1]


@pytest.mark.parametrize("why", ["late", "taken"])
@pytest.mark.parametrize("kind", PAYLOADS)
async def test_listeners_hear_only_of_what_is_handled(kind: str, why: str):
    class Taken:
        async def claim(self, interaction: int) -> bool:
            return interaction in admitted

    host, heard = Host(), []
    arrivals = host.arrivals if why == "late" else Arrivals(DiscordClock(host.ticks), Taken())
    with offline(arrivals=arrivals, clock=host) as rig:
        answer_everything(rig, [])
        for event in ("interaction", "application_command", "message_interaction", "modal_submit"):
            rig.bot.add_listener(partial(hear, heard), f"on_{event}")
        first = host.made(PAYLOADS[kind]())
        host.discord_s += 60
        last = host.made(PAYLOADS[kind]())
        admitted = {int(last["id"])}
        for payload in (last, first):
            rig.receive(payload)
            await rig.wait_until_idle()
        assert len(heard) == 2
        assert set(heard) == admitted


async def hear(heard: list[int], inter: Any) -> None:
    heard.append(inter.id)


async def test_own_on_application_command_decides_what_runs():
    """As in bare disnake."""
    runs: list[str] = []
    with offline() as rig:
        answer_everything(rig, runs)

        @rig.bot.event
        async def on_application_command(inter):
            runs.append("mine")
            if len(runs) > 1:
                await rig.bot.process_application_commands(inter)

        for _ in range(2):
            rig.receive(slash("one"))
            await rig.wait_until_idle()
        assert runs == ["mine", "mine", "run"]
        assert [e.result for e in rig.finished] == ["ok"]
