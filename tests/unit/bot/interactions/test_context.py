"""Answers through the context: first reply, deferral, follow-up."""

from __future__ import annotations

import asyncio

import disnake

from botctl.bot.interactions.context import Context
from tests.support.offline import Offline, click, offline, slash


async def handled(rig: Offline, body) -> list[tuple[str, str]]:
    """Return the answers to a command whose handler is ``body(ctx)``."""

    @rig.bot.slash_command(name="x", description="x")
    async def x(inter):
        pending = rig.bot.pipeline.pending(inter)
        assert pending is not None
        pending.ctx = Context(inter, pending.invocation)
        await body(pending.ctx)

    rig.receive(slash("x"))
    await rig.wait_until_idle()
    assert [event.result for event in rig.finished] == ["ok"]
    return rig.webhooks.answers


async def test_answers_notify_no_one_unless_told_to():
    async def body(ctx: Context) -> None:
        await ctx.defer()
        await ctx.reply("hello @everyone")
        await ctx.edit(content="hello <@&5>")
        await ctx.reply("hello <@7>")
        await ctx.reply("hello <@7>", mentions=True)
        await ctx.reply("hello <@7>", allowed_mentions=disnake.AllowedMentions(users=True, roles=False, everyone=False))

    with offline() as rig:
        await handled(rig, body)
        parsed = [None if mentions is None else mentions["parse"] for mentions in rig.webhooks.mentions]
        assert parsed == [None, [], [], [], None, ["users"]]


async def test_first_reply_and_update_notify_no_one():
    async def reply(ctx: Context) -> None:
        await ctx.reply("hello @everyone")

    async def update(inter):
        pending = rig.bot.pipeline.pending(inter)
        await Context(inter, pending.invocation).edit(content="hello @everyone")

    with offline() as rig:
        rig.bot.allowed_mentions = disnake.AllowedMentions.all()
        await handled(rig, reply)
        rig.bot.add_listener(update, "on_button_click")
        rig.receive(click("x"))
        await rig.wait_until_idle()
        assert [mentions["parse"] for mentions in rig.webhooks.mentions if mentions] == [[], []]


async def test_second_reply_is_a_follow_up():
    async def body(ctx: Context) -> None:
        await ctx.reply("one")
        await ctx.reply("two")

    with offline() as rig:
        assert await handled(rig, body) == [("reply", "one"), ("followup", "two")]


async def test_reply_after_a_deferral_edits_the_deferred_answer():
    async def body(ctx: Context) -> None:
        await ctx.defer()
        await ctx.reply("one")
        await ctx.reply("two")

    with offline() as rig:
        assert await handled(rig, body) == [("defer", ""), ("edit", "one"), ("followup", "two")]


async def test_reply_after_a_deferral_by_disnake_edits_it():
    async def body(ctx: Context) -> None:
        await ctx.inter.response.defer()
        await ctx.reply("one")

    with offline() as rig:
        assert await handled(rig, body) == [("defer", ""), ("edit", "one")]


async def test_reply_waits_for_a_deferral_that_is_being_sent():
    async def body(ctx: Context) -> None:
        ctx.defer_after(0, "public")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await ctx.reply("one")

    with offline() as rig:
        assert await handled(rig, body) == [("defer", ""), ("edit", "one")]


async def test_reply_cancels_the_automatic_deferral():
    async def body(ctx: Context) -> None:
        ctx.defer_after(0, "ephemeral")
        await ctx.reply("one")
        for _ in range(5):  # the timer was due at once, and would have gone off by now
            await asyncio.sleep(0)

    with offline() as rig:
        assert await handled(rig, body) == [("reply", "one")]


async def test_deferral_without_a_reply_is_answered_with_done():
    async def body(ctx: Context) -> None:
        await ctx.defer()

    with offline() as rig:
        assert await handled(rig, body) == [("defer", ""), ("edit", "Done.")]


async def test_ephemeral_reply_stays_ephemeral_after_an_automatic_public_deferral():
    async def body(ctx: Context) -> None:
        ctx.defer_after(0, "public")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await ctx.reply("a secret", ephemeral=True)
        await ctx.reply("more")

    with offline() as rig:
        assert await handled(rig, body) == [
            ("defer", ""),
            ("delete", ""),
            ("followup", "a secret"),
            ("followup", "more"),
        ]
