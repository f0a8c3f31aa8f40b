"""Answers of handlers that are not finished: botctl leaves them the time that Discord leaves them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from botctl.bot.commands.builder import build
from botctl.bot.commands.command import Command
from botctl.bot.commands.compiled import ValidationContext
from botctl.bot.interactions.answering import SPEAK_AT_S, SPEAK_DEFERRED_AT_S
from botctl.bot.interactions.arrivals import Arrivals
from botctl.bot.interactions.context import Context
from botctl.bot.interactions.discord_clock import DiscordClock
from tests.support.offline import Offline, click, interaction, offline, slash, snowflake_at
from tests.support.services import LoopClock

pytestmark = pytest.mark.looptime
START_S = 1_780_000_000.0
FORM = {"custom_id": "some:form", "components": []}


@contextmanager
def patient() -> Iterator[Offline]:
    """Create a bot whose clocks are the event loop's."""
    clock = LoopClock()
    with offline(arrivals=Arrivals(DiscordClock(clock.monotonic)), clock=clock, grace_s=SPEAK_AT_S) as running:
        yield running


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def ended(rig: Offline) -> None:
    await asyncio.sleep(0)  # the task of a component begins
    while rig.bot.pipeline.in_flight or any(t.get_name().startswith("disnake") for t in asyncio.all_tasks()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("event", ["button_click", "message_interaction", "interaction"])
async def test_wait_for_has_until_the_deadline_to_answer(event: str):
    with patient() as rig:

        async def wait() -> None:
            inter = await rig.bot.wait_for(event)
            await asyncio.sleep(2.4)
            await inter.response.send_message("thank you")

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        rig.receive(click("some:button"))
        await waiting
        await ended(rig)
        assert rig.webhooks.answers == [("reply", "thank you")]
        assert [e.result for e in rig.finished] == ["ok"]


@pytest.mark.parametrize("event", ["on_button_click", "on_modal_submit"])
async def test_task_of_a_listener_has_until_the_deadline(event: str):
    with patient() as rig:
        tasks = []

        async def answer(inter: Any) -> None:
            await asyncio.sleep(2.4)
            await inter.response.send_message("late but fine")

        async def listener(inter: Any) -> None:
            tasks.append(asyncio.create_task(answer(inter)))

        rig.bot.add_listener(listener, event)
        rig.receive(click("some:button") if event == "on_button_click" else interaction(5, FORM))
        await ended(rig)
        assert rig.webhooks.answers == [("reply", "late but fine")]


async def test_component_that_nobody_got_is_answered_at_once():
    with patient() as rig:
        rig.receive(click("some:button"))
        await rig.wait_until_idle()
        assert (rig.webhooks.answers, now_s()) == ([("reply", "This no longer works.")], 0)


async def test_silent_cog_is_answered_just_before_the_deadline():
    with patient() as rig:

        @rig.bot.slash_command(name="silent", description="x")
        async def silent(inter):
            rig.bot.kept = inter

        rig.receive(slash("silent"))
        await ended(rig)
        assert rig.webhooks.answers == [("reply", "Done.")]
        assert SPEAK_AT_S <= now_s() < 3


async def test_error_listener_has_until_the_deadline():
    with patient() as rig:

        @rig.bot.slash_command(name="sour", description="x")
        async def sour(inter):
            raise ValueError("sour")

        @rig.bot.listen("on_slash_command_error")
        async def apologise(inter, error):
            await asyncio.sleep(2.4)
            await inter.response.send_message("how sour")

        rig.receive(slash("sour"))
        await ended(rig)
        assert rig.webhooks.answers == [("reply", "how sour")]


def cog(rig: Offline, body: Any) -> None:
    @rig.bot.slash_command(name="later", description="x")
    async def later(inter):
        await inter.response.defer()
        body(inter)


async def follow_up(inter: Any, after_s: float) -> None:
    await asyncio.sleep(after_s)
    await inter.followup.send("the answer")


@pytest.mark.parametrize("after_s", [0.0, 1.0, 800.0])
async def test_task_may_follow_up_on_a_deferral(after_s: float):
    with patient() as rig:
        tasks = []
        cog(rig, lambda inter: tasks.append(asyncio.create_task(follow_up(inter, after_s))))
        rig.receive(slash("later"))
        await ended(rig)
        await tasks.pop()
        await asyncio.sleep(1000)
        assert rig.webhooks.answers == [("defer", ""), ("followup", "the answer")]
        assert [e.result for e in rig.finished] == ["ok"]
        assert len(rig.bot.pipeline.answering.unanswered) == 0


async def test_worker_may_follow_up_on_a_deferral():
    """It has the interaction from a queue, or only its webhook."""
    with patient() as rig:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        cog(rig, lambda inter: queue.put_nowait(inter.followup))
        rig.receive(slash("later"))
        await asyncio.sleep(60)
        await queue.get_nowait().send("the answer")
        await asyncio.sleep(1000)
        assert rig.webhooks.answers == [("defer", ""), ("followup", "the answer")]


def install(rig: Offline, command: type[Command]) -> None:
    compiled = build(command, ValidationContext(), lambda *_: None)
    assert compiled is not None
    rig.bot.pipeline.register(compiled, compiled.bind(lambda _: {}))
    rig.bot.add_slash_command(compiled.invokable)


@pytest.mark.parametrize("take", [lambda ctx: ctx, lambda ctx: ctx.inter], ids=["context", "interaction"])
async def test_command_may_answer_from_its_own_task(take: Any):
    with patient() as rig:
        tasks = []

        class Later(Command):
            """Later."""

            async def execute(self, ctx) -> None:
                tasks.append(asyncio.create_task(self.answer(take(ctx))))

            async def answer(self, taken) -> None:
                await asyncio.sleep(2.4)
                await (taken.reply if isinstance(taken, Context) else taken.response.send_message)("the answer")

        install(rig, Later)
        rig.receive(slash("later"))
        await ended(rig)
        assert rig.webhooks.answers == [("reply", "the answer")]


@pytest.mark.parametrize("work_s", [0, 5])
async def test_silent_command_is_answered_when_it_returns(work_s: float):
    with patient() as rig:

        class Silent(Command):
            """Silent."""

            async def execute(self, ctx) -> None:
                await asyncio.sleep(work_s)

        install(rig, Silent)
        rig.receive(slash("silent"))
        await ended(rig)
        assert rig.webhooks.answers[-1][1] == "Done."
        assert now_s() < work_s + 0.1


async def test_forgotten_deferral_is_filled_when_nobody_has_it():
    with patient() as rig:
        cog(rig, lambda _: None)
        rig.receive(slash("later"))
        await asyncio.sleep(1)
        assert rig.webhooks.answers == [("defer", ""), ("edit", "Done.")]


async def test_deferral_is_answered_before_its_fifteen_minutes_end():
    with patient() as rig:
        kept = []
        cog(rig, kept.append)
        rig.receive(slash("later"))
        await asyncio.sleep(SPEAK_DEFERRED_AT_S - 1)
        assert rig.webhooks.answers == [("defer", "")]
        await asyncio.sleep(2)
        assert rig.webhooks.answers[1:] == [("edit", "No answer came within 15 minutes.")]


async def test_stop_waits_for_follow_ups_then_tells_the_others():
    with patient() as rig:
        tasks = []
        cog(rig, lambda inter: tasks.append(asyncio.create_task(follow_up(inter, 2 if not tasks else 60))))
        for _ in range(2):
            rig.receive(slash("later"))
            await ended(rig)
        await rig.bot.pipeline.drain(10)
        assert rig.webhooks.answers[2][0] == "followup"
        assert [kind for kind, text in rig.webhooks.answers if "restarting" in text] == ["edit"]
        for task in tasks:
            task.cancel()


async def test_stop_tells_whoever_waits_for_a_first_answer():
    with patient() as rig:

        @rig.bot.slash_command(name="silent", description="x")
        async def silent(inter):
            rig.bot.kept = inter

        rig.receive(slash("silent"))
        await asyncio.sleep(0.1)
        await rig.bot.pipeline.drain(0)
        assert "restarting" in rig.webhooks.answers[0][1]
        assert now_s() < 1


async def test_automatic_deferral_comes_by_the_age_of_the_command():
    """A command that took 1.5 s to arrive is deferred after 0.5 s."""
    with patient() as rig:
        deferred_s = []

        class Slow(Command):
            """Slow."""

            async def execute(self, ctx) -> None:
                while not ctx.inter.response.is_done():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                deferred_s.append(now_s())
                await ctx.reply("at last")

        install(rig, Slow)
        rig.bot.pipeline.arrivals.clock.learn_id(snowflake_at(START_S + 1.5))
        rig.receive(slash("slow") | {"id": str(snowflake_at(START_S))})
        await ended(rig)
        assert deferred_s == [pytest.approx(0.5, abs=0.1)]


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "not heard"])
@pytest.mark.parametrize("fails", [True, False], ids=["fails", "ends"])
async def test_answer_stays_after_the_deferral_was_fetched(heard: bool, fails: bool):
    """The copy that disnake keeps of it still says "thinking…"."""
    with patient() as rig:

        @rig.bot.slash_command(name="later", description="x")
        async def later(inter):
            await inter.response.defer()
            await inter.original_response()
            await inter.followup.send("the answer")
            if heard:
                rig.bot.pipeline.heard_follow_up(inter.token)
            if fails:
                raise ValueError("later")

        rig.receive(slash("later"))
        await ended(rig)
        await asyncio.sleep(1000)
        assert rig.webhooks.answers[:2] == [("defer", ""), ("followup", "the answer")]
        assert [kind for kind, _ in rig.webhooks.answers[2:]] == ["followup"] * fails


async def test_task_may_fetch_the_deferral_before_its_answer():
    with patient() as rig:
        tasks = []

        async def answer(inter: Any) -> None:
            await asyncio.sleep(60)
            await inter.original_response()
            await inter.followup.send("the answer")

        cog(rig, lambda inter: tasks.append(asyncio.create_task(answer(inter))))
        rig.receive(slash("later"))
        await asyncio.sleep(1000)
        assert rig.webhooks.answers == [("defer", ""), ("followup", "the answer")]


async def test_fetched_deferral_is_filled_when_nobody_has_it():
    with patient() as rig:

        @rig.bot.slash_command(name="later", description="x")
        async def later(inter):
            await inter.response.defer()
            await inter.original_response()

        rig.receive(slash("later"))
        await asyncio.sleep(1)
        assert rig.webhooks.answers == [("defer", ""), ("edit", "Done.")]
