"""The bot's own answers: nobody stays on "thinking…", and nobody is left without a word."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime
from typing import Any, Final

import aiohttp
import disnake
from disnake import InteractionResponseType
from disnake.interactions import Interaction, MessageInteraction

from botctl.bot.context import Context
from botctl.bot.decisions import Disposition, Say, should_tell
from botctl.bot.pending import PendingInteraction
from botctl.bot.translations import say

UNANSWERABLE: Final = (disnake.DiscordException, aiohttp.ClientError, OSError, TimeoutError, RuntimeError)
"""What an answer may raise; RuntimeError is aiohttp's word for a session that has been closed."""
LONG_WAIT_S: Final = 60.0
_NO_PINGS: Final = disnake.AllowedMentions.none()


def sentence(disposition: Disposition, locale: str, error_id: str | None, now: datetime) -> str:
    """What the person is told; of a long wait, the moment when it is over, so that the sentence stays true."""
    words = disposition.say or Say("failed", {"error_id": error_id})
    if words.key == "throttled" and (wait_s := disposition.retry_after_s or 0.0) >= LONG_WAIT_S:
        words = Say("throttled_long", {"at": math.ceil(now.timestamp() + wait_s)})
    return say(words.key, locale, **words.values)


async def tell(pending: PendingInteraction, text: str) -> None:
    """Tell the person ``text`` where `should_tell`, alone where Discord allows it: a public deferral stays public.

    Raises:
        UNANSWERABLE: Discord does not take it; most often the interaction has expired.
    """
    inter, ctx = pending.inter, pending.ctx
    if ctx is not None:
        await ctx.settle()
    begun = inter.response.is_done()
    answered = begun and not await _thinking(inter, ctx)
    if not should_tell(answered=answered, was_answered=pending.was_answered, author_notified=pending.author_notified):
        return
    if not begun:
        await inter.response.send_message(text, ephemeral=True, allowed_mentions=_NO_PINGS)
    elif not answered:
        await _fill(inter, ctx, text)
    else:
        await inter.followup.send(text, ephemeral=True, allowed_mentions=_NO_PINGS)


async def settle(inter: Interaction[Any], ctx: Context | None, locale: str, *, grace_s: float) -> None:
    """See to it that a handler which has finished has answered. ``grace_s``: a plain cog may answer a moment later.

    Raises:
        UNANSWERABLE: as for `tell`.
    """
    if ctx is not None:
        await ctx.settle()
    response = inter.response
    done = response.is_done()
    if done and response.type is not InteractionResponseType.deferred_channel_message:
        return
    if grace_s and not done:
        await asyncio.sleep(grace_s)
    if not response.is_done():
        if isinstance(inter, MessageInteraction):
            await inter.response.defer()  # acknowledged, and nothing to see
        else:
            await response.send_message(say("done", locale), ephemeral=True)
    elif await _thinking(inter, ctx):
        await _fill(inter, ctx, say("done", locale))


async def _fill(inter: Interaction[Any], ctx: Context | None, text: str) -> None:
    if ctx is not None:
        await ctx.reply(text, ephemeral=True, allowed_mentions=_NO_PINGS)
    else:
        await inter.edit_original_response(text, allowed_mentions=_NO_PINGS)


async def _thinking(inter: Interaction[Any], ctx: Context | None) -> bool:
    """Whether the person still sees "thinking…". Where the answer did not pass through a Context, Discord is asked."""
    if inter.response.type is not InteractionResponseType.deferred_channel_message:
        return False
    if ctx is not None and not ctx.thinking:
        return False
    try:
        message = await inter.original_response()  # from memory, if it has been edited
    except disnake.NotFound:
        return False  # the author has taken it away
    return message.flags.loading
